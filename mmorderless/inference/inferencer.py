"""Predict the label sets of images with a trained model."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import init_default_scope
from mmpretrain.structures import DataSample
from rich.progress import Progress
from torch import nn
from torch.utils.data import DataLoader

from mmorderless.inference.images import Images, PreparedImages, inference_pipeline, list_images
from mmorderless.inference.known_labels import Labels, known_labels
from mmorderless.inference.predictions import results_of
from mmorderless.models.heads.known_labels import mask_known_labels, set_known_labels
from mmorderless.models.weights import trained_classes
from mmorderless.runs.config import read_config
from mmorderless.runs.methods import apply_method, check_applied
from mmorderless.runs.trained_model import (
    build_model,
    load_weights,
    prepare_for_inference,
    temporary_attributes,
)
from mmorderless.runs.workers import bind_workers


class OrderlessInferencer:
    """Predict the labels of images.

        >>> inferencer = OrderlessInferencer("config.py", "work_dirs/config/epoch_30.pth")
        >>> inferencer("photo.jpg")[0]["names"]
        ['person', 'surfboard']
        >>> inferencer("photo.jpg", given=["sea"], excluded=["surfboard"])[0]["names"]
        ['sea', 'person', 'boat']

    A result is a dict:

    - `image`: the path, or the position in the input for a picture that has none;
    - `labels`, `names`: distinct class indices and class names in the order of emission;
    - `probabilities`: of each label, the probability at the step that emitted it;
    - `sequence`, `sequence_probabilities`: the labels as emitted, repeats included; None for a
      model that does not emit a sequence (a BCE head), whose labels are in class order, or by
      probability (class queries);
    - `end_probability`: that there is no further label, of models that emit a sequence by softmax,
      and of known sets;
    - `scores`: of each class, the head's `pred_score`, which ranks images;
    - `attention`: with `return_attention`, an array (steps, h, w), or (labels, h, w) for class
      queries, that sums to 1 over the cells;
    - `given`, `excluded`: the known class indices of the image, if there are any. Given labels are
      the first of `labels`, with probability and score 1; excluded ones have score 0.

    Images are prepared by the pipeline of the config's `test_dataloader` without its `CropBox`,
    since no box comes with an image; for a model trained on boxes, give the crops.

    Args:
        model: path of a config, a config, or a built model whose config is in `model._config` (as
            mmpretrain's `get_model` leaves it).
        weights: checkpoint; a built model may have its weights already.
        device: where to run; None takes an accelerator when there is one.
        classes: class names; None takes those that the checkpoint was trained with.
        batch_size: images per forward pass.
        num_workers: number of processes that load images; 0 loads them in this one.

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
            model = build_model(cfg)
        self.config = cfg
        self.model: Any = model
        init_default_scope(cfg.get("default_scope", "mmpretrain"))
        names = (getattr(model, "_dataset_meta", None) or {}).get("classes")
        if weights is not None:
            names = trained_classes(load_weights(model, weights)) or names
        names = classes if classes is not None else names
        if names is None:
            raise ValueError(
                "the checkpoint does not name its classes (meta.dataset_meta.classes, which "
                "tools/train.py writes); give them as classes=[...]"
            )
        self.classes: list[str] = list(names)
        prepare_for_inference(model, device)
        self.batch_size = batch_size
        self.num_workers = num_workers
        self._load, self.preparation = inference_pipeline(cfg)

    def __call__(
        self,
        images: Images,
        return_attention: bool = False,
        progress: bool = True,
        skip_unreadable: bool = False,
        given: Labels | Sequence[Labels | None] | None = None,
        excluded: Labels | Sequence[Labels | None] | None = None,
    ) -> list[dict[str, Any]]:
        """Predict the labels of images.

        Args:
            images: a path or an address of an image; a folder, searched with its subfolders; the
                bytes of an image file; a picture of Pillow; an array, uint8, (H, W) gray or
                (H, W, 3) BGR as mmcv loads it; a tensor, uint8, (3, H, W) RGB as torchvision reads
                it; or a list of any of these (see `list_images`).
            return_attention: whether to add the attention maps to the results.
            progress: whether to show a progress bar.
            skip_unreadable: whether an image that cannot be read gives a result with only `image`
                and `error` instead of ending the call.
            given: labels that are known, as class names or indices: a list of them for all images,
                or a list with such a list, or None, for each image (of a folder, for each of
                its images, sorted). A sequence model begins with them, in this order.
            excluded: classes that are known not to be labels, in the same form.

        Returns:
            A dict per image, in the order given (see the class).

        Raises:
            ValueError: an image cannot be read, the model has no attention to return, or known
                labels are not classes, contradict each other, or are too many for the model.
            FileNotFoundError: an image is missing.
        """
        return list(
            self.predict(images, return_attention, progress, skip_unreadable, given, excluded)
        )

    def predict(
        self,
        images: Images,
        return_attention: bool = False,
        progress: bool = True,
        skip_unreadable: bool = False,
        given: Labels | Sequence[Labels | None] | None = None,
        excluded: Labels | Sequence[Labels | None] | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield the results of `__call__` one by one, batch after batch."""
        listed = list_images(images)
        names = [image if isinstance(image, str) else i for i, image in enumerate(listed)]
        head = getattr(self.model, "head", None)
        max_given = head.max_steps - 1 if hasattr(head, "max_steps") else None
        known = known_labels(given, excluded, names, self.classes, max_given)
        loader = DataLoader(
            PreparedImages(listed, self._load, self.preparation),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=list,
        )
        bind_workers(loader)
        done = 0
        show = Progress(disable=not progress, redirect_stdout=False, redirect_stderr=False)
        maps = {"return_attention": return_attention} if hasattr(head, "return_attention") else {}
        with temporary_attributes(head, maps), show:
            for batch in show.track(loader, description="predicting"):
                if not skip_unreadable:
                    for read in batch:
                        if isinstance(read, Exception):
                            raise read
                good = []
                for i, read in enumerate(batch, done):
                    if not isinstance(read, Exception):
                        set_known_labels(read["data_samples"], *known[i])
                        good.append(read)
                results = iter(results_of(self._forward(good), self.classes, return_attention))
                for read in batch:
                    if isinstance(read, Exception):
                        yield {"image": names[done], "error": str(read)}
                    else:
                        yield {"image": names[done], **next(results)}
                    done += 1

    @torch.no_grad()
    def _forward(self, batch: list[dict]) -> list[DataSample]:
        if not batch:
            return []
        sizes = {tuple(prepared["inputs"].shape[-2:]) for prepared in batch}
        if len(sizes) > 1:
            # mmpretrain would pad them to the largest, and the padding changes the prediction.
            batches = [[prepared] for prepared in batch]
        else:
            batches = [batch]
        samples = [s for part in batches for s in self.model.test_step(pseudo_collate(part))]
        return mask_known_labels(samples)
