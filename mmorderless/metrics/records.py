"""Predictions and ground truth of a dataset as flat arrays, gathered over batches and processes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, vstack

from mmorderless.labels.label_lists import JoinedLabels
from mmorderless.metrics.set_scores import check_number


@dataclass(frozen=True)
class Records:
    """What the metric keeps of some images, in a few arrays.

    Attributes:
        predicted: the emitted labels.
        truth: the true labels.
        scores: of each class, float32, shape (images, C), dense or, where only the highest are
            kept, sparse; None where an image has none.
        sequence: the labels as emitted; None where an image has none.
        ignored: classes that mAP leaves out; None where no image names any.
    """

    predicted: JoinedLabels
    truth: JoinedLabels
    scores: np.ndarray | csr_array | None
    sequence: JoinedLabels | None
    ignored: JoinedLabels | None

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, images: np.ndarray) -> Records:
        """Return some images, in the order of their indices."""
        return Records(
            self.predicted.take(images),
            self.truth.take(images),
            None if self.scores is None else self.scores[images],
            None if self.sequence is None else self.sequence.take(images),
            None if self.ignored is None else self.ignored.take(images),
        )


def as_joined_labels(label_lists: Sequence[Any]) -> JoinedLabels:
    """Class indices of B images, from tensors, arrays or lists; B is at least 1."""
    tensors = [as_label_tensor(labels) for labels in label_lists]
    length = np.array([labels.numel() for labels in tensors])
    return JoinedLabels(torch.cat(tensors).cpu().numpy(), length)


def as_label_tensor(labels: Any) -> torch.Tensor:
    """Class indices of one image as int64, shape (n,), where they are."""
    # Called for each field of each image: what is right already is not touched.
    if isinstance(labels, torch.Tensor) and labels.dtype == torch.long and labels.ndim == 1:
        return labels
    return torch.as_tensor(labels, dtype=torch.long).reshape(-1)


def join_records(parts: Sequence[Records]) -> Records:
    """Join the images of some records; a field that one of them lacks is lost, but `ignored`.

    Raises:
        ValueError: there is none, or the numbers of scores differ.
    """
    check_number(len(parts))
    if len(parts) == 1:
        return parts[0]
    scores, sequences, ignored = (
        [getattr(part, field) for part in parts] for field in ("scores", "sequence", "ignored")
    )
    return Records(
        join_joined([part.predicted for part in parts]),
        join_joined([part.truth for part in parts]),
        None if any(part is None for part in scores) else stack_scores(scores),
        None if any(part is None for part in sequences) else join_joined(sequences),
        None
        if all(part is None for part in ignored)
        else join_joined(
            [no_labels(len(part)) if part.ignored is None else part.ignored for part in parts]
        ),
    )


def join_joined(parts: Sequence[JoinedLabels]) -> JoinedLabels:
    """Join the label lists of some records."""
    return JoinedLabels(
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.length for part in parts]),
    )


def no_labels(number: int) -> JoinedLabels:
    """Empty label lists of some images."""
    return JoinedLabels(np.zeros(0, dtype=np.int64), np.zeros(number, dtype=np.int64))


def stack_scores(parts: Sequence[np.ndarray | csr_array]) -> np.ndarray | csr_array:
    """Stack the scores of some records, all dense or all sparse."""
    check_widths(part.shape[1] for part in parts)
    return vstack(parts, format="csr") if isinstance(parts[0], csr_array) else np.concatenate(parts)


def check_widths(numbers: Iterable[int]) -> None:
    """Raise a ValueError when images have scores of different numbers of classes."""
    widths = sorted(set(numbers))
    if len(widths) > 1:
        raise ValueError(
            f"pred_score has {widths} entries in different images; every prediction must have a "
            "score for every class"
        )


def dealt_order(numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Order of images that were dealt out to ranks like cards, as mmengine's sampler does.

    Args:
        numbers: how many images each rank has.

    Returns:
        the rank of each image, and its place when the ranks' images are laid end to end; in the
        order of dealing, both of shape (sum of the numbers,).
    """
    rank = np.repeat(np.arange(len(numbers)), numbers)
    turn = np.concatenate([np.arange(number) for number in numbers])
    place = np.lexsort([rank, turn])
    return rank[place], place


def as_labels(labels: Any) -> np.ndarray:
    """Class indices of one image as int64, shape (n,), from a tensor, an array or a list."""
    return torch.as_tensor(labels).cpu().numpy().astype(np.int64).reshape(-1)


def as_scores(scores: Any) -> np.ndarray:
    """Scores of one image as float32, shape (C,), from a tensor (bfloat16 too) or an array."""
    return torch.as_tensor(scores).float().cpu().numpy()
