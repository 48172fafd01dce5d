"""Checks of a batch of label sets: range, distinct classes, hard labels, space for END.

Letters: B images, C classes, n_i labels of image i, N = max n_i, F = Σ n_i.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

LabelSets: TypeAlias = Sequence[Tensor] | Tensor
"""Label sets of B images, unchecked: 1-D tensors of class indices, or a multi-hot matrix (B, C)."""


class CheckedLabels(NamedTuple):
    """Label sets of a batch that passed the checks, on the CPU.

    Args:
        labels: class indices in ascending order, END (C) from n_i on, int64, shape (B, N).
        num_labels: n_i, int64, shape (B,).
        num_classes: C.
    """

    labels: np.ndarray
    num_labels: np.ndarray
    num_classes: int

    def mask(self) -> Tensor:
        """Boolean matrix of the labels, shape (B, C)."""
        mask = np.zeros((len(self.labels), self.num_classes + 1), dtype=bool)
        np.put_along_axis(mask, self.labels, True, axis=1)
        return torch.from_numpy(mask[:, : self.num_classes])


def check_fits(num_labels: int, max_steps: int) -> None:
    """Raise a ValueError when `num_labels` labels and END exceed the decoding steps."""
    if num_labels + 1 > max_steps:
        raise ValueError(
            f"cannot place {num_labels} labels in {max_steps} decoding steps; "
            f"raise max_steps to at least {num_labels + 1} (labels + END)"
        )


def check_labels(label_sets: LabelSets, num_classes: int) -> CheckedLabels:
    """Check the label sets of a batch and copy them to the CPU (synchronizes with the device).

    Args:
        label_sets: B one-dimensional tensors of class indices in any order, or a multi-hot
            matrix (B, C).
        num_classes: C.

    Raises:
        ValueError: the batch is empty, a set is not a 1-D tensor of integers, a label is out of
            range or repeated, or a multi-hot entry is neither 0 nor 1.

    >>> checked = check_labels([torch.tensor([3, 1]), torch.tensor([2])], num_classes=4)
    >>> checked.labels
    array([[1, 3],
           [2, 4]])
    >>> checked.mask().int()
    tensor([[0, 1, 0, 1],
            [0, 0, 1, 0]], dtype=torch.int32)
    """
    if len(label_sets) == 0:
        raise ValueError("no label sets: the batch is empty")
    if isinstance(label_sets, Tensor):
        values, num_labels = _read_multi_hot(label_sets, num_classes)
    else:
        values, num_labels = _read_index_sets(label_sets)
    is_label = np.arange(num_labels.max()) < num_labels[:, None]  # (B, N)
    labels = np.full(is_label.shape, num_classes)
    labels[is_label] = values
    _raise_for_image(
        ((labels < 0) | (labels >= num_classes)) & is_label,
        f"holds an index outside 0 … {num_classes - 1}; compare num_classes with the annotation "
        "file",
    )
    labels.sort(axis=1)  # so that exact ties between costs do not depend on the order given
    _raise_for_image(
        (labels[:, 1:] == labels[:, :-1]) & is_label[:, 1:],
        "names a class twice; remove duplicates from the annotation file",
    )
    return CheckedLabels(labels, num_labels, num_classes)


def _read_multi_hot(matrix: Tensor, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of all images, shape (F,), and n_i, shape (B,)."""
    if matrix.dim() != 2 or matrix.shape[1] != num_classes:
        raise ValueError(
            f"multi-hot labels must have shape (B, {num_classes}), got {tuple(matrix.shape)}; pass "
            "index sets as a list of 1-D tensors"
        )
    values = matrix.float().cpu().numpy()  # NumPy has no bfloat16
    _raise_for_image(
        (values != 0) & (values != 1),
        "is multi-hot with values other than 0 and 1; soft labels (Mixup, CutMix) cannot be "
        "put into a sequence: set model.train_cfg=None",
    )
    return values.nonzero()[1], np.count_nonzero(values, axis=1)


def _read_index_sets(label_sets: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels of all images, shape (F,), and n_i, shape (B,)."""
    try:
        labels = torch.cat(tuple(label_sets))
    except (TypeError, RuntimeError):  # not all are one-dimensional tensors
        labels = None
    types = {labels.dtype for labels in label_sets if isinstance(labels, Tensor)}
    if labels is None or labels.dim() != 1 or types != {torch.int64}:
        _check_index_sets(label_sets)
        labels = torch.cat([labels.long() for labels in label_sets])
    num_labels = np.fromiter(map(Tensor.numel, label_sets), np.int64, len(label_sets))
    return labels.cpu().numpy(), num_labels


def _check_index_sets(label_sets: Sequence[Tensor]) -> None:
    """Raise a ValueError when a label set is not a 1-D tensor of integers."""
    for labels in label_sets:
        if not isinstance(labels, Tensor) or labels.dim() != 1:
            got = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
            raise ValueError(f"each label set must be a 1-D tensor of class indices, got {got}")
        if (labels.is_floating_point() or labels.dtype == torch.bool) and len(labels) > 0:
            raise ValueError(f"class indices must be integers, got {labels.dtype}")


def _raise_for_image(is_faulty: np.ndarray, fault: str) -> None:
    """Raise a ValueError that names the first faulty image of a batch, flags of shape (B, …)."""
    if is_faulty.any():
        raise ValueError(f"the label set of image {is_faulty.nonzero()[0][0]} of the batch {fault}")
