"""A decoded image with all that its figures show."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.dataset import pseudo_collate
from torch import Tensor

from mmorderless.datasets.cropping import CropBox
from mmorderless.datasets.loading import LoadImage
from mmorderless.errors import error_line
from mmorderless.inference.pictures import MIN_SIDE

# Transforms after which the cells still divide the whole picture evenly.
WHOLE_FRAME = ("Resize", "PackInputs")


@dataclass(frozen=True)
class DecodedImage:
    """One image as a sequence model decodes it.

    Attributes:
        labels: the image's n labels, ascending, int64, shape (n,).
        logits: of the rollout on the model's own arg max, float32, shape (n + 1, C + 1).
        tokens: what each of these steps emits, shape (n + 1,).
        sequence: the labels of the prediction, repeats included, S class indices.
        probabilities: of each of them at its step.
        attention: weights over the cells at each of these steps, shape (S, h, w); None where the
            model has no such maps.
    """

    labels: Tensor
    logits: Tensor
    tokens: Tensor
    sequence: list[int]
    probabilities: list[float]
    attention: np.ndarray | None


@torch.no_grad()
def decode(model: Any, item: dict[str, Any]) -> DecodedImage:
    """Decode one image: its prediction, and n + 1 steps on its own arg max.

    These are the steps that PLA, MLA and fixed orders look at in training; teacher forcing, order
    search and OCD train on other prefixes.

    Args:
        model: a classifier with a sequence head, in evaluation mode.
        item: `inputs` and `data_samples`, as a dataset gives them.
    """
    head = model.head
    batch = model.data_preprocessor(pseudo_collate([item]), False)
    feats = model.extract_feat(batch["inputs"])
    sample = head.predict(feats)[0]
    labels = item["data_samples"].gt_label.cpu().long().sort().values
    rollout = head.decoder.rollout(head.pre_logits(feats), len(labels) + 1)
    maps = sample.attention.numpy() if "attention" in sample else None
    return DecodedImage(
        labels=labels,
        logits=rollout.logits[0].float().cpu(),
        tokens=rollout.tokens[0].cpu(),
        sequence=sample.sequence.tolist(),
        probabilities=sample.sequence_score.tolist(),
        attention=maps if maps is not None and maps.ndim == 3 else None,
    )


def token_names(tokens: Sequence[int], classes: Sequence[str]) -> list[str]:
    """Names of class tokens and of END."""
    names = [*classes, "END"]
    return [names[token] for token in tokens]


def seen_picture(dataset: Any, index: int, inputs: Tensor) -> tuple[np.ndarray | None, str]:
    """The picture that the cells of the map divide evenly.

    That is the photo in the file, or the box that was cut out of it; where the pipeline moves the
    picture in other ways (a centre crop), it is the network's own input. The maps of a feature
    cache have no pipeline: they are of the photo that `img_path` names.

    Args:
        dataset: the test set.
        index: the image's place in it.
        inputs: what the pipeline gave for it.

    Returns:
        uint8 RGB, shape (H, W, 3), its longer side at most a few hundred pixels; or None and why.
    """
    info = dataset.get_data_info(index)
    while hasattr(dataset, "dataset"):  # a part of another one
        dataset = dataset.dataset
    transforms = dataset.pipeline.transforms
    cut = [step for step in transforms if isinstance(step, LoadImageFromFile | CropBox)]
    moved = [
        type(step).__name__
        for step in transforms
        if step not in cut
        and (type(step).__name__ not in WHOLE_FRAME or getattr(step, "keep_ratio", False))
    ]
    if moved:
        if inputs.dtype != torch.uint8 or inputs.shape[0] != 3:
            return None, f"the photo cannot be told from the input after {', '.join(moved)}"
        return np.ascontiguousarray(inputs.numpy()[::-1].transpose(1, 2, 0)), ""
    try:
        results = {**info}
        for step in cut or [LoadImage(min_side=MIN_SIDE)]:
            results = step(results)
    except (ValueError, OSError) as error:
        return None, error_line(error)
    picture = results["img"]
    scale = MIN_SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture[..., ::-1]), ""


def find_images(dataset: Any, paths: Sequence[str]) -> list[int]:
    """Find images in a dataset by their files.

    Args:
        dataset: one whose images have an `img_path`.
        paths: of files, as the dataset names them or by the end of that (`0001.jpg`).

    Returns:
        Their places; several for a file that the dataset uses several times (boxes of one photo).

    Raises:
        ValueError: the dataset has no such file, or several of that name.
    """
    known = [str(dataset.get_data_info(i)["img_path"]) for i in range(len(dataset))]
    absolute = [os.path.abspath(path) for path in known]
    found = []
    for path in paths:
        wanted = os.path.abspath(path)
        places = [i for i, file in enumerate(absolute) if file == wanted]
        if not places:
            end = os.sep + os.path.normpath(path)
            places = [i for i, file in enumerate(absolute) if file.endswith(end)]
        files = sorted({known[i] for i in places})
        if not files:
            raise ValueError(f"{path} is no image of the test set, which has {known[0]}, say")
        if len(files) > 1:
            raise ValueError(f"{path} may be {', '.join(files[:3])}; give more of the path")
        found += places
    return found
