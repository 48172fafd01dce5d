"""Predictions and ground truth of a dataset as flat arrays, joined over batches and processes."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_array, vstack

from mmorderless.labels.label_lists import RaggedLabels
from mmorderless.metrics.set_scores import check_not_empty


@dataclass(frozen=True)
class Records:
    """Predictions and ground truth of N images.

    Attributes:
        predicted: the emitted label sets.
        truth: the true label sets.
        scores: score of each class, float32, shape (N, C), sparse where only the highest are kept;
            None where an image has none.
        sequence: the labels as emitted, repeats included; None where an image has none.
        ignored: classes that mAP leaves out; None where no image names any.
        img_path: the images' files, objects of shape (N,); None where they are not known.
    """

    predicted: RaggedLabels
    truth: RaggedLabels
    scores: np.ndarray | csr_array | None
    sequence: RaggedLabels | None
    ignored: RaggedLabels | None
    img_path: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, images: np.ndarray) -> "Records":
        """Return the records of some images, in the order of their indices."""
        return Records(
            self.predicted.take(images),
            self.truth.take(images),
            None if self.scores is None else self.scores[images],
            None if self.sequence is None else self.sequence.take(images),
            None if self.ignored is None else self.ignored.take(images),
            None if self.img_path is None else self.img_path[images],
        )


def as_ragged_labels(label_lists: Sequence[Any]) -> RaggedLabels:
    """Join the class indices of at least one image, given as tensors, arrays or lists."""
    tensors = [torch.as_tensor(labels, dtype=torch.long) for labels in label_lists]
    length = np.array([labels.numel() for labels in tensors])
    return RaggedLabels(torch.cat(tensors).cpu().numpy(), length)


def join_records(parts: Sequence[Records]) -> Records:
    """Join records of different images; a field that a part lacks is None, except `ignored`.

    Raises:
        ValueError: there is no part, or the numbers of scores differ.
    """
    check_not_empty(len(parts))
    if len(parts) == 1:
        return parts[0]

    def joined(field: str, join: Callable[[list], Any]) -> Any:
        values = [getattr(part, field) for part in parts]
        return None if any(value is None for value in values) else join(values)

    ignored = None
    if any(part.ignored is not None for part in parts):
        none = np.zeros(0, dtype=np.int64)
        ignored = concatenate_labels(
            [part.ignored or RaggedLabels(none, np.zeros_like(part.truth.length)) for part in parts]
        )
    return Records(
        predicted=joined("predicted", concatenate_labels),
        truth=joined("truth", concatenate_labels),
        scores=joined("scores", stack_scores),
        sequence=joined("sequence", concatenate_labels),
        ignored=ignored,
        img_path=joined("img_path", np.concatenate),
    )


def concatenate_labels(parts: Sequence[RaggedLabels]) -> RaggedLabels:
    """Concatenate the label lists of different images."""
    return RaggedLabels(
        np.concatenate([part.label for part in parts]),
        np.concatenate([part.length for part in parts]),
    )


def stack_scores(parts: Sequence[np.ndarray | csr_array]) -> np.ndarray | csr_array:
    """Stack scores of different images, all dense or all sparse."""
    check_widths(part.shape[1] for part in parts)
    return vstack(parts, format="csr") if isinstance(parts[0], csr_array) else np.concatenate(parts)


def check_widths(widths: Iterable[int]) -> None:
    """Raise a ValueError when images have scores of different numbers of classes."""
    distinct = sorted(set(widths))
    if len(distinct) > 1:
        raise ValueError(
            f"pred_score has different lengths in different images: {distinct}; every "
            "prediction must have a score for every class"
        )


def round_robin_order(num_images: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Undo the round-robin split of a dataset over ranks, as mmengine's DefaultSampler makes it.

    Args:
        num_images: number of images of each rank.

    Returns:
        rank of each image of the dataset; and its position in the concatenation of the ranks'
        images, both of shape (number of all images,).

    >>> round_robin_order([3, 2])[1]
    array([0, 3, 1, 4, 2])
    """
    rank = np.repeat(np.arange(len(num_images)), num_images)
    turn = np.concatenate([np.arange(number) for number in num_images])
    position = np.lexsort([rank, turn])
    return rank[position], position
