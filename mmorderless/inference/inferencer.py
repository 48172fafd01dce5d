"""Label sets of images, by a trained model."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmpretrain.structures import DataSample
from torch import nn
from torch.utils.data import DataLoader

from mmorderless.errors import error_line
from mmorderless.inference.images import Images, _pipeline, _PreparedImages, list_images
from mmorderless.models.weights import load_all_weights, weights_of
from mmorderless.runs.checkpoint_files import existing_checkpoint
from mmorderless.runs.config import read_config
from mmorderless.runs.methods import apply_method, check_applied
from mmorderless.runs.progress import progress_bar
from mmorderless.runs.trained_model import build_model


class OrderlessInferencer:
    """Predict the labels of images.

        >>> inferencer = OrderlessInferencer("config.py", "work_dirs/config/epoch_30.pth")
        >>> inferencer("photo.jpg")[0]["names"]
        ['person', 'surfboard']

    A result is a dict:

    - `image`: the path, or the position in the input for an array;
    - `labels`, `names`: distinct class indices and class names in the order of emission;
    - `probabilities`: of each label, the probability at the step that emitted it;
    - `sequence`, `sequence_probabilities`: the labels as emitted, repeats included; None for a
      model that does not emit a sequence (a BCE head), whose labels are in class order;
    - `scores`: of each class, the head's `pred_score`, which ranks images;
    - `attention`: with `return_attention`, an array (steps, h, w) that sums to 1 over the cells.

    Images are prepared by the pipeline of the config's `test_dataloader`, without its `CropBox`: a
    picture has no box, so give the crops.

    Args:
        model: path of a config, a config, or a built model whose config is in `model._config` (as
            mmpretrain's `get_model` leaves it).
        weights: checkpoint; a built model may have its weights already.
        device: where to run; None takes an accelerator when there is one.
        classes: class names; None takes those that the checkpoint was trained with.
        batch_size: images a forward pass.
        num_workers: processes that load images beside this one.

    Raises:
        ValueError: there are no weights, no class names or no usable pipeline; the weights do not
            fit the model.
        FileNotFoundError: the config or the checkpoint is missing.
    """

    def __init__(
        self,
        model: str | Path | Config | nn.Module,
        weights: str | Path | None = None,
        device: str | torch.device | None = None,
        classes: Sequence[str] | None = None,
        batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        if isinstance(model, nn.Module):
            cfg = getattr(model, "_config", None)
            if cfg is None:
                raise ValueError(
                    "the model has no `_config`, whose test pipeline prepares the images; set "
                    "model._config = Config.fromfile(...), or give the config instead of the model"
                )
            check_applied(cfg)
        else:
            if weights is None:
                raise ValueError("a config alone has random weights; give a checkpoint as weights")
            cfg = model if isinstance(model, Config) else read_config(str(model))
            if cfg.get("method") is not None:
                cfg = copy.deepcopy(cfg)
                apply_method(cfg)
        init_default_scope(cfg.get("default_scope", "mmpretrain"))
        self.config = cfg
        self.model: Any = model if isinstance(model, nn.Module) else build_model(cfg)
        dataset_meta = getattr(self.model, "_dataset_meta", None) or {}
        if weights is not None:
            path = existing_checkpoint(str(weights))
            checkpoint = CheckpointLoader.load_checkpoint(path, map_location="cpu")
            load_all_weights(self.model, weights_of(checkpoint))
            dataset_meta = checkpoint.get("meta", {}).get("dataset_meta") or dataset_meta
        names = classes if classes is not None else dataset_meta.get("classes")
        if names is None:
            raise ValueError(
                "the checkpoint does not name its classes (meta.dataset_meta.classes, which "
                "tools/train.py writes); give them as classes=[...]"
            )
        self.classes: list[str] = list(names)
        try:
            self.model.to(device or get_device())
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"cannot use the device {device}: {error_line(error)}") from error
        self.model.eval()
        self.batch_size = batch_size
        self.num_workers = num_workers
        self._load, self._prepare = _pipeline(cfg)

    def __call__(
        self,
        images: Images,
        return_attention: bool = False,
        progress: bool = True,
        skip_unreadable: bool = False,
    ) -> list[dict[str, Any]]:
        """Predict the labels of images.

        Args:
            images: a path of an image; a folder, searched with its subfolders; an array (H, W, 3),
                BGR as mmcv loads it; or a list of these.
            return_attention: whether results hold the attention maps.
            progress: whether to show a progress bar.
            skip_unreadable: whether an image that cannot be read gives a result with only `image`
                and `error` instead of ending the call.

        Returns:
            A dict per image, in the order given (see the class).

        Raises:
            ValueError: an image cannot be read; or attention is asked of a model without it.
            FileNotFoundError: an image is not there.
        """
        return list(self.predict(images, return_attention, progress, skip_unreadable))

    def predict(
        self,
        images: Images,
        return_attention: bool = False,
        progress: bool = True,
        skip_unreadable: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """Yield the results of `__call__` one by one, as soon as a batch is done."""
        listed = list_images(images)
        loader = DataLoader(
            _PreparedImages(listed, self._load, self._prepare),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=list,
        )
        done = 0
        show = progress_bar(len(listed)) if progress else nullcontext()
        with _attention_maps(self.model, return_attention), show as bar:
            for batch in loader:
                if not skip_unreadable:
                    for read in batch:
                        if isinstance(read, Exception):
                            raise read
                good = [read for read in batch if not isinstance(read, Exception)]
                results = iter(self._results(self._forward(good), return_attention))
                for read in batch:
                    image = listed[done]
                    name = done if isinstance(image, np.ndarray) else image
                    if isinstance(read, Exception):
                        yield {"image": name, "error": str(read)}
                    else:
                        yield {"image": name, **next(results)}
                    done += 1
                if bar is not None:
                    bar.update(len(batch))

    @torch.no_grad()
    def _forward(self, batch: list[dict]) -> list[DataSample]:
        if not batch:
            return []
        sizes = {tuple(prepared["inputs"].shape[-2:]) for prepared in batch}
        if len(sizes) > 1:
            # mmpretrain would pad them to the largest, and the padding changes the prediction.
            return [self.model.test_step(pseudo_collate([prepared]))[0] for prepared in batch]
        return self.model.test_step(pseudo_collate(batch))

    def _results(self, samples: list[DataSample], with_attention: bool) -> list[dict[str, Any]]:
        """Turn a batch's predictions into results, with one copy to the host a field."""
        if not samples:
            return []
        scores = torch.stack([sample.pred_score for sample in samples]).cpu()  # (B, C)
        if not scores.isfinite().all():
            raise ValueError(
                "the model's scores are not finite; its weights hold NaN or infinity: use another "
                "checkpoint"
            )
        if scores.shape[1] != len(self.classes):
            raise ValueError(
                f"the model has {scores.shape[1]} classes but {len(self.classes)} class names are "
                "known; give as many as the model was trained with"
            )
        labels = _lists([sample.pred_label for sample in samples])
        results: list[dict[str, Any]] = [
            {
                "labels": own_labels,
                "names": [self.classes[label] for label in own_labels],
                "probabilities": [own_scores[label] for label in own_labels],
                "sequence": None,
                "sequence_probabilities": None,
                "scores": own_scores,
            }
            for own_labels, own_scores in zip(labels, scores.tolist())
        ]
        if all("sequence" in sample for sample in samples):
            sequences = _lists([sample.sequence for sample in samples])
            probabilities = _lists([sample.sequence_score for sample in samples])
            for result, sequence, emitted in zip(results, sequences, probabilities):
                result["sequence"], result["sequence_probabilities"] = sequence, emitted
                result["probabilities"] = [
                    emitted[sequence.index(label)] for label in result["labels"]
                ]
        if with_attention:
            for result, sample in zip(results, samples):
                if "attention" not in sample:
                    raise ValueError(
                        "the model gives no attention maps; ask for them only with a sequence head "
                        "whose decoder attends"
                    )
                result["attention"] = sample.attention.cpu().numpy()
        return results


def _lists(tensors: Sequence[torch.Tensor]) -> list[list]:
    """Turn 1-D tensors, of any lengths, into lists with one copy to the host."""
    lengths = [len(tensor) for tensor in tensors]
    return [part.tolist() for part in torch.cat(list(tensors)).cpu().split(lengths)]


@contextmanager
def _attention_maps(model: nn.Module, wanted: bool) -> Iterator[None]:
    """Switch a head's attention output on or off, where it has one, for the length of a block."""
    head: Any = getattr(model, "head", None)
    before = getattr(head, "return_attention", None)
    if before is None:
        yield
        return
    head.return_attention = wanted
    try:
        yield
    finally:
        head.return_attention = before
