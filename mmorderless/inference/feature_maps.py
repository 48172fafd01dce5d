"""Compute a frozen backbone's feature maps once, so that decoders train on them in minutes."""

import copy
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmpretrain.registry import DATASETS, MODELS
from rich.progress import Progress
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from mmorderless.datasets.cached_features import LABEL_FIELDS, read_index, write_split
from mmorderless.datasets.partition import FOLDS
from mmorderless.models.weights import (
    initialize_quietly,
    load_all_weights,
    pretrained_sources,
    weights_of,
)
from mmorderless.runs.workers import bind_workers

SPLITS = ("train", "val", "test")


def cache_features(cfg: Config, out: Path, checkpoint: str | None = None) -> list[str]:
    """Store the feature maps of a config's datasets.

    The backbone runs in evaluation mode over every split with the test pipeline, so that nothing is
    augmented. The test split is left out if its dataset equals that of the val split. A split that
    was computed before from the same weights, pipeline and data is kept.

    Args:
        cfg: a config whose datasets read images.
        out: folder of the cache.
        checkpoint: the backbone's weights (a checkpoint of a whole model or of the backbone); None
            takes the config's `load_from` or the backbone's pretrained weights.

    Returns:
        The names of the splits in the cache.

    Raises:
        ValueError: there are no weights; the folder holds features of other weights, data or
            pipeline, or was damaged; the backbone does not give a map.
    """
    init_default_scope(cfg.get("default_scope", "mmpretrain"))
    device = get_device()
    backbone = MODELS.build(cfg.model.backbone)
    source = _load_backbone(backbone, checkpoint or cfg.get("load_from"))
    backbone.to(device).eval()
    preprocessor = _preprocessor(cfg).to(device)
    # The key depends on the weights themselves, not on where they come from.
    architecture = {name: value for name, value in cfg.model.backbone.items() if name != "init_cfg"}
    weights_digest = digest_of_weights(backbone.state_dict())
    loader_cfg = cfg.test_dataloader
    pipeline = loader_cfg.dataset.pipeline
    done = []
    for split, dataset_cfg in _datasets(cfg).items():
        _reader(dataset_cfg).pipeline = pipeline
        dataset = DATASETS.build(dataset_cfg)
        images = [dataset.get_data_info(i) for i in range(len(dataset))]
        classes = dataset.metainfo["classes"]
        key = _digest(
            weights_digest,
            _plain(architecture),
            _plain(_preprocessor_cfg(cfg)),
            _plain(pipeline),
            list(classes),
            [
                [
                    image["img_path"],
                    _file_size(image["img_path"]),
                    _plain({name: list(image[name]) for name in LABEL_FIELDS if name in image}),
                ]
                for image in images
            ],
        )
        index = read_index(out, split)
        if index is not None and index["key"] != key:
            raise ValueError(
                f"{out} holds features of the split {split!r} computed from other weights, "
                "another pipeline or other data; give another --out, or delete that folder"
            )
        if index is None:
            loader = DataLoader(
                dataset,
                batch_size=loader_cfg.batch_size,
                num_workers=loader_cfg.get("num_workers", 0),
                collate_fn=default_collate,
            )
            bind_workers(loader)
            print(f"{split}: {len(dataset)} images", flush=True)
            batches = _feature_batches(loader, preprocessor, backbone)
            weights = f"{source} (sha256 of the backbone {weights_digest[:12]})"
            groups = dataset.metainfo.get("groups")
            write_split(out, split, key, images, classes, batches, weights, groups)
        else:
            print(f"{split}: {len(dataset)} images, already cached", flush=True)
        done.append(split)
    return done


def digest_of_weights(weights: dict[str, Tensor]) -> str:
    """Return a digest of a model's weights: their names, shapes, types and bytes.

    Args:
        weights: tensors by name.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        array = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {tuple(array.shape)} {array.dtype}".encode())
        digest.update(array.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _load_backbone(backbone: nn.Module, checkpoint: str | None) -> str:
    """Load the backbone's weights and return the path or address that they come from."""
    if checkpoint is not None:
        weights = weights_of(CheckpointLoader.load_checkpoint(checkpoint, map_location="cpu"))
        of_backbone = {
            name.removeprefix("backbone."): tensor
            for name, tensor in weights.items()
            if name.startswith("backbone.")
        }
        load_all_weights(backbone, of_backbone or weights)
        return checkpoint
    sources = pretrained_sources(backbone)
    if not sources:
        raise ValueError(
            "the backbone has no weights: give --checkpoint, or load_from or "
            "model.backbone.init_cfg=dict(type='Pretrained', ...) in the config"
        )
    initialize_quietly(backbone)
    return ", ".join(sources)


def _preprocessor_cfg(cfg: Config) -> dict:
    own = cfg.model.get("data_preprocessor") or cfg.get("data_preprocessor") or {}
    return {"type": "ClsDataPreprocessor", **own}


def _preprocessor(cfg: Config) -> nn.Module:
    return MODELS.build(_preprocessor_cfg(cfg))


def _datasets(cfg: Config) -> dict[str, Any]:
    """Copy each split's dataset config; leave out a test split that equals the val split."""
    datasets = {
        split: copy.deepcopy(cfg[f"{split}_dataloader"].dataset)
        for split in SPLITS
        if cfg.get(f"{split}_dataloader") is not None
    }
    for split, dataset in datasets.items():
        if "pipeline" not in _reader(dataset):
            raise ValueError(
                f"the dataset of {split}_dataloader ({dataset['type']}) has no pipeline;"
                " use a dataset that reads images, without a wrapper"
            )
    if "test" not in datasets:
        raise ValueError("the config has no test_dataloader, whose pipeline is used for all splits")
    if "val" in datasets and _plain(datasets["test"]) == _plain(datasets["val"]):
        del datasets["test"]
    return datasets


def _reader(dataset: Any) -> Any:
    """Return the config of the dataset that reads the images, inside one of `val_split`."""
    return dataset.dataset if dataset["type"] in FOLDS else dataset


@torch.no_grad()
def _feature_batches(
    loader: DataLoader[Dataset], preprocessor: nn.Module, backbone: nn.Module
) -> Iterator[np.ndarray]:
    """Yield the backbone's last map of each batch, shape (b, D, h, w)."""
    with Progress(redirect_stdout=False, redirect_stderr=False) as progress:
        for data in progress.track(loader, description="computing features"):
            features = backbone(preprocessor(data, False)["inputs"])
            if isinstance(features, tuple | list):
                features = features[-1]
            if features.dim() != 4:
                raise ValueError(
                    f"the backbone gives features of shape {tuple(features.shape)}, expected a map "
                    "(B, D, h, w); for a ViT set out_type='featmap'"
                )
            yield features.float().cpu().numpy()


def _plain(value: Any) -> Any:
    """Convert a config's value to JSON types."""
    return json.loads(json.dumps(value, default=str))


def _file_size(path: str) -> int | None:
    return os.stat(path).st_size if os.path.isfile(path) else None


def _digest(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
