"""Feature maps of a frozen backbone, stored on disk: the file format and the dataset.

A split of a cache is `DIR/SPLIT.npy`, float16 of shape (N, D, h, w), and `DIR/SPLIT.json`, an index
of its images, classes and backbone. The JSON is written last: a split without one is incomplete.
"""

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmpretrain.datasets import BaseDataset
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample
from numpy.lib.format import open_memmap

INDEX_VERSION = 1


def write_split(
    cache: Path,
    split: str,
    key: str,
    images: Sequence[dict[str, Any]],
    classes: Sequence[str],
    batches: Iterable[np.ndarray],
    weights: str | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Store a split's features.

    Args:
        cache: folder of the cache.
        split: name of the split.
        key: digest of everything that the features depend on.
        images: per image `img_path` and `gt_label`, in the order of the features.
        classes: class names.
        batches: the features, shape (b, D, h, w) each; N in total.
        weights: name of the backbone's weights, for the log.
        groups: class indices of each named group of classes.

    Raises:
        ValueError: a feature is not finite in float16.
    """
    cache.mkdir(parents=True, exist_ok=True)
    features_file, index_file = cache / f"{split}.npy", cache / f"{split}.json"
    # Under another name until it is complete, so that an interrupted run leaves no broken split.
    partial = cache / f"{split}.npy.partial"
    features = None
    done = 0
    for batch in batches:
        if features is None:
            shape = (len(images), *batch.shape[1:])
            features = open_memmap(partial, mode="w+", dtype=np.float16, shape=shape)
        with np.errstate(over="ignore"):
            half = batch.astype(np.float16)
        if not np.isfinite(half).all():
            raise ValueError(
                f"{split}: a feature of images {done} to {done + len(batch) - 1} is not finite in "
                f"float16 (largest {np.abs(batch).max():.3g}); check the backbone's weights"
            )
        features[done : done + len(batch)] = half
        done += len(batch)
    if features is None or done != len(images):
        raise ValueError(f"{split}: got features of {done} images for {len(images)}")
    features.flush()
    os.replace(partial, features_file)
    index = {
        "version": INDEX_VERSION,
        "key": key,
        "weights": weights,
        "shape": list(features.shape),
        "classes": list(classes),
        "groups": {name: list(group) for name, group in (groups or {}).items()},
        "images": [
            {"img_path": image["img_path"], "gt_label": [int(c) for c in image["gt_label"]]}
            for image in images
        ],
    }
    partial_index = cache / f"{split}.json.partial"
    partial_index.write_text(json.dumps(index))
    os.replace(partial_index, index_file)


def read_index(cache: Path, split: str) -> dict[str, Any] | None:
    """Return a split's index, or None if the split does not exist or is incomplete.

    Raises:
        ValueError: another version of this package wrote the index.
    """
    index_file = cache / f"{split}.json"
    if not index_file.is_file() or not (cache / f"{split}.npy").is_file():
        return None
    index = json.loads(index_file.read_text())
    if index.get("version") != INDEX_VERSION:
        raise ValueError(
            f"{index_file} has version {index.get('version')}, this package reads version "
            f"{INDEX_VERSION}; delete the folder and run tools/cache_features.py again"
        )
    return index


@DATASETS.register_module()
class CachedFeatures(BaseDataset):
    """Stored feature maps instead of images, for training and evaluation.

    An item is like the output of a pipeline: `inputs`, float16 of shape (D, h, w), and
    `data_samples` with `gt_label`, `img_path` and `sample_idx`. Use it with the backbone
    `FeaturePassThrough` and a `ClsDataPreprocessor` without mean and std, which makes the inputs
    float32.

    Args:
        cache: folder that tools/cache_features.py wrote.
        split: name of the split: train, val or test.

    Raises:
        FileNotFoundError: the cache or the split is missing or incomplete.
    """

    def __init__(self, cache: str, split: str) -> None:
        self.cache = Path(cache).expanduser()
        self.split = split
        self._features: np.ndarray | None = None
        super().__init__(ann_file=str(self.cache / f"{split}.json"), test_mode=True)

    def load_data_list(self) -> list[dict]:
        """Return `img_path` and `gt_label` of each image, from the index."""
        index = read_index(self.cache, self.split)
        if index is None:
            raise FileNotFoundError(
                f"no complete features of split {self.split!r} in {self.cache}; create them with "
                f"`python tools/cache_features.py CONFIG --out {self.cache}`, with a CONFIG that "
                "reads the images"
            )
        self._metainfo.setdefault("classes", tuple(index["classes"]))
        self._metainfo.setdefault("groups", index.get("groups", {}))
        shape = "×".join(map(str, index["shape"][1:]))
        print_log(
            f"CachedFeatures: split {self.split!r} of {self.cache}, {len(index['images'])} maps of "
            f"{shape}, weights {index.get('weights') or 'not recorded'}, key {index['key'][:12]}",
            logger="current",
        )
        # `row` stays valid when the dataset is reduced to a part.
        return [{**image, "row": row} for row, image in enumerate(index["images"])]

    def prepare_data(self, idx: int) -> dict:
        """Return the features and the labels of an image."""
        if self._features is None:
            self._features = np.load(self.cache / f"{self.split}.npy", mmap_mode="r")
        info = self.get_data_info(idx)
        sample = DataSample(
            metainfo={"img_path": info["img_path"], "sample_idx": info["sample_idx"]}
        )
        sample.set_gt_label(torch.tensor(info["gt_label"], dtype=torch.long))
        # A copy: the map is read-only, and torch has no read-only tensors.
        features = np.array(self._features[info["row"]])
        return {"inputs": torch.from_numpy(features), "data_samples": sample}

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the labels of an image, for mmpretrain's class-balanced wrapper."""
        return self.get_data_info(idx)["gt_label"]

    def __getstate__(self) -> dict:
        # Each worker opens the file itself; a pickled memory map would carry all its data.
        return {**self.__dict__, "_features": None}
