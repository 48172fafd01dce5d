"""Decode single images of a test set for figures."""

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
from mmorderless.figures.fonts import drawable_names
from mmorderless.inference.pictures import MIN_SIDE

# Transforms after which the cells of the feature map still divide the whole image evenly.
WHOLE_FRAME = ("Resize", "PackInputs")


@dataclass(frozen=True)
class DecodedImage:
    """One image as a sequence model decodes it.

    Attributes:
        labels: the image's n labels, ascending, int64, shape (n,).
        logits: logits of the rollout on the model's own arg max, float32, shape (n + 1, C + 1).
        tokens: the token emitted at each step of that rollout, shape (n + 1,).
        sequence: the predicted labels as emitted, repeats included, S class indices.
        probabilities: probability of each of these labels at its step.
        attention: weights over the cells when each of these labels is emitted, shape (S, h, w);
            None when the model has no such maps.
    """

    labels: Tensor
    logits: Tensor
    tokens: Tensor
    sequence: list[int]
    probabilities: list[float]
    attention: np.ndarray | None


@torch.no_grad()
def decode_image(model: Any, item: dict[str, Any]) -> DecodedImage:
    """Predict one image, and roll the decoder out for n + 1 steps on its own arg max.

    PLA, MLA and fixed orders train on these steps; teacher forcing, order search and OCD train on
    other prefixes.
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
    """Return the names of class tokens and END as a figure can show them."""
    names = [*drawable_names(classes), "END"]
    return [names[token] for token in tokens]


def background_picture(dataset: Any, index: int, inputs: Tensor) -> tuple[np.ndarray | None, str]:
    """Return the picture that the cells of the feature map divide evenly.

    It is the photo, or the box that `CropBox` cuts out of it. If the pipeline has other geometric
    transforms (a center crop), it is the network's input. Cached features have no pipeline; their
    picture is the photo at `img_path`.

    Args:
        dataset: the test set.
        index: the image's index in it.
        inputs: the image after the pipeline.

    Returns:
        The picture (uint8 RGB, shape (H, W, 3), its longer side at most `MIN_SIDE` pixels) and an
        empty string; or None and the reason.
    """
    info = dataset.get_data_info(index)
    while hasattr(dataset, "dataset"):  # a subset
        dataset = dataset.dataset
    transforms = dataset.pipeline.transforms
    reading = [step for step in transforms if isinstance(step, LoadImageFromFile | CropBox)]
    if geometric := geometric_steps([step for step in transforms if step not in reading]):
        if inputs.dtype != torch.uint8 or inputs.shape[0] != 3:
            names = ", ".join(geometric)
            return None, f"the photo cannot be recovered from the input after {names}"
        return np.ascontiguousarray(inputs.numpy()[::-1].transpose(1, 2, 0)), ""
    try:
        results = {**info}
        for step in reading or [LoadImage(min_side=MIN_SIDE)]:
            results = step(results)
    except (ValueError, OSError) as error:
        return None, error_line(error)
    picture = results["img"]
    scale = MIN_SIDE / max(picture.shape[:2])
    if scale < 1:
        picture = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(picture[..., ::-1]), ""


def geometric_steps(transforms: Sequence[Any]) -> list[str]:
    """Return the types of the transforms after which the map's cells do not divide the picture."""
    return [
        type(step).__name__
        for step in transforms
        if type(step).__name__ not in WHOLE_FRAME or getattr(step, "keep_ratio", False)
    ]


def find_images(dataset: Any, paths: Sequence[str]) -> list[int]:
    """Find images in a dataset by their files.

    Returns:
        Their indices; several for a file that the dataset uses several times (boxes of a photo).

    Raises:
        ValueError: the dataset has no such file, or several with this name.
    """
    known = [str(dataset.get_data_info(i)["img_path"]) for i in range(len(dataset))]
    absolute = [os.path.abspath(path) for path in known]
    found = []
    for path in paths:
        target = os.path.abspath(path)
        indices = [i for i, file in enumerate(absolute) if file == target]
        if not indices:
            end = os.sep + os.path.normpath(path)
            indices = [i for i, file in enumerate(absolute) if file.endswith(end)]
        files = sorted({known[i] for i in indices})
        if not files:
            raise ValueError(f"{path} is not in the test set; name a file such as {known[0]}")
        if len(files) > 1:
            raise ValueError(f"{path} matches {', '.join(files[:3])}; give more of the path")
        found += indices
    return found
