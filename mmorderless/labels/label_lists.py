"""Label sets and sequences of many images: ragged lists, dense and sparse matrices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_array

Labels = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class JoinedLabels:
    """The label lists of N images in two arrays, which stay small for many images.

    Attributes:
        label: the labels of all images, one image after the other, int64, shape (M,).
        length: how many of them each image has, int64, shape (N,).
    """

    label: np.ndarray
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.length)

    def take(self, images: np.ndarray) -> JoinedLabels:
        """Return the lists of some images, in the order of their indices."""
        start = np.cumsum(self.length) - self.length
        length = self.length[images]
        shift = start[images] - (np.cumsum(length) - length)
        return JoinedLabels(self.label[np.repeat(shift, length) + np.arange(length.sum())], length)


LabelLists = Sequence[Labels] | JoinedLabels


def join_labels(label_lists: Sequence[Labels]) -> JoinedLabels:
    """Join the label lists of N images, any of them possibly empty."""
    length = np.fromiter((len(labels) for labels in label_lists), np.int64, len(label_lists))
    joined: Iterable[int] = chain.from_iterable(label_lists)
    return JoinedLabels(np.fromiter(joined, np.int64, int(length.sum())), length)


def flatten_labels(
    label_lists: LabelLists, num_classes: int, what: str = "labels"
) -> tuple[np.ndarray, np.ndarray]:
    """Give every label of all images its image, and check that it is a class.

    Args:
        label_lists: the labels of each image, any of them possibly empty.
        num_classes: number of classes C.
        what: how an error calls the lists.

    Returns:
        label and image index of every entry, int64, both of shape (sum of the lengths,).

    Raises:
        ValueError: a class index is not in 0 … C − 1.
    """
    joined = label_lists if isinstance(label_lists, JoinedLabels) else join_labels(label_lists)
    label = joined.label
    image = np.repeat(np.arange(len(joined)), joined.length)
    outside = np.flatnonzero((label < 0) | (label >= num_classes))
    if outside.size:
        first = outside[0]
        raise ValueError(
            f"class index {label[first]} in the {what} of image {image[first]} is not in "
            f"0 … {num_classes - 1}; the annotation and the number of classes "
            f"({num_classes}) disagree"
        )
    return label, image


def drop_repeats(
    label: np.ndarray, image: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the first of equal labels of an image.

    Args:
        label: joined labels as from `flatten_labels`, shape (M,).
        image: their images, shape (M,).
        num_classes: number of classes C.

    Returns:
        label and image without repeats, in the order given.
    """
    _, first = np.unique(image * num_classes + label, return_index=True)
    first.sort()
    return label[first], image[first]


Matrix: TypeAlias = np.ndarray | csr_array


def label_matrix(label_lists: LabelLists, num_classes: int, what: str = "labels") -> np.ndarray:
    """Make a boolean matrix of label lists.

    Args:
        label_lists: the class indices of each of N images; repeats count once.
        num_classes: number of classes C.
        what: how an error calls the lists.

    Returns:
        Boolean matrix, shape (N, C).

    Raises:
        ValueError: a class index is not in 0 … C − 1.
    """
    label, image = flatten_labels(label_lists, num_classes, what)
    matrix = np.zeros((len(label_lists), num_classes), dtype=bool)
    matrix[image, label] = True
    return matrix


def sparse_label_matrix(
    label_lists: LabelLists, num_classes: int, what: str = "labels"
) -> csr_array:
    """Make the matrix of `label_matrix` as a sparse array, which has an entry a label."""
    label, image = flatten_labels(label_lists, num_classes, what)
    image, label = np.divmod(np.unique(image * num_classes + label), max(num_classes, 1))
    ends = np.cumsum(np.bincount(image, minlength=len(label_lists)))
    entries = np.ones(len(label), dtype=bool), label, np.concatenate([[0], ends])
    return csr_array(entries, shape=(len(label_lists), num_classes))
