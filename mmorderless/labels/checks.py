"""Checks of a batch of label sets: range, distinct classes, room for END."""

from collections.abc import Sequence
from typing import NamedTuple, Union

import numpy as np
import torch
from torch import Tensor

LabelSets = Union[Sequence[Tensor], Tensor]
"""Per image a 1-D tensor of class indices, or a multi-hot tensor (B, C)."""


class _Sets(NamedTuple):
    """Label sets of a batch on the host, flat: image after image, ascending within an image.

    Args:
        labels: class indices, shape (F,).
        counts: n_i, shape (B,).
        most: the largest n_i.
        image: which image each label, and each step t < n_i, belongs to, shape (F,).
        step: t, shape (F,).
        base: C + 2 times the image, so that `base` + token tells images apart, shape (F,).
        key: `base` + label, ascending throughout, shape (F,).
    """

    labels: np.ndarray
    counts: np.ndarray
    most: int
    image: np.ndarray
    step: np.ndarray
    base: np.ndarray
    key: np.ndarray


def check_room(num_labels: int, num_steps: int) -> None:
    """Raise a ValueError when labels and END do not fit into the decoding steps."""
    if num_labels + 1 > num_steps:
        raise ValueError(
            f"cannot place {num_labels} labels in {num_steps} decoding steps; "
            f"raise max_steps to at least {num_labels + 1} (labels + END)"
        )


def _sort_sets(
    labels: np.ndarray, counts: np.ndarray, num_classes: int, num_steps: int
) -> tuple[_Sets, np.ndarray]:
    """Check flat labels and sort them within each image.

    Sorted labels make exact ties between costs independent of the order given.

    Args:
        labels: image after image, shape (F,).
        counts: n_i, shape (B,).
        num_classes: C.
        num_steps: T.

    Returns:
        The sets, and where each of their labels was before, shape (F,).
    """
    most = int(counts.max())
    check_room(most, num_steps)
    image, step = _places(counts)
    order = np.arange(len(labels))
    # Room for END, and for −1, which falls between two images: `_around_predictions` looks tokens
    # up in the keys.
    base = image * (num_classes + 2)
    key = base + labels
    if len(labels) and labels.view(np.uint64).max() >= num_classes:  # negative ones are huge
        wrong = image[(labels < 0) | (labels >= num_classes)][0]
        raise _bad_set(
            wrong,
            f"holds an index outside 0 … {num_classes - 1}; compare num_classes with the "
            "annotation file",
        )
    if not (key[1:] > key[:-1]).all():
        order = key.argsort(kind="stable")
        key, labels = key[order], labels[order]
        twice = (key[1:] == key[:-1]).nonzero()[0]
        if len(twice):
            raise _bad_set(
                image[twice[0]], "names a class twice; remove duplicates from the annotation file"
            )
    return _Sets(labels, counts, most, image, step, base, key), order


def _places(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image, and place 0 … n_i − 1 within it, of each flat label, shape (F,) each."""
    image = np.repeat(np.arange(len(counts)), counts)
    return image, np.arange(len(image)) - (counts.cumsum() - counts)[image]


def _bad_set(image: int, what: str) -> ValueError:
    return ValueError(f"the label set of image {image} of the batch {what}")


def _flatten(targets: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Labels of all sets, shape (F,), and how many each has, shape (B,), on the host.

    Raises:
        ValueError: a set is not a 1-D tensor of integers.
    """
    try:
        labels = torch.cat(tuple(targets))
    except (TypeError, RuntimeError):
        labels = None
    if labels is None or labels.dim() != 1 or labels.dtype != torch.int64:
        _check_index_sets(targets)  # raises, unless only empty sets have another kind of type
        labels = torch.cat([wanted.long() for wanted in targets])
    counts = np.fromiter(map(Tensor.numel, targets), np.int64, len(targets))
    return labels.cpu().numpy().astype(np.int64, copy=False), counts


def _check_index_sets(targets: Sequence[Tensor]) -> None:
    """Raise a ValueError when a label set is not a 1-D tensor of integers."""
    for labels in targets:
        if not isinstance(labels, Tensor) or labels.dim() != 1:
            got = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
            raise ValueError(f"each label set must be a 1-D tensor of class indices, got {got}")
        if (labels.is_floating_point() or labels.dtype == torch.bool) and len(labels) > 0:
            raise ValueError(f"class indices must be integers, got {labels.dtype}")


def _check_multi_hot_shape(targets: Tensor, num_classes: int) -> None:
    if targets.dim() != 2 or targets.shape[1] != num_classes:
        raise ValueError(
            f"multi-hot targets must have shape (B, {num_classes}), got {tuple(targets.shape)}; "
            "pass index sets as a list of 1-D tensors"
        )


def _check_binary(faulty: np.ndarray) -> None:
    """Raise a ValueError when a multi-hot row (B,) has values other than 0 and 1."""
    if faulty.any():
        raise _bad_set(
            np.flatnonzero(faulty)[0],
            "is multi-hot with values other than 0 and 1; soft labels (Mixup, CutMix) cannot be "
            "put into a sequence: set model.train_cfg=None",
        )
