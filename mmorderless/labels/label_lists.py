"""Label sets and sequences of many images: ragged lists, dense and sparse matrices.

Letters: N images, C classes, M labels of all images together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import TypeAlias

import numpy as np
from scipy.sparse import csr_array

Labels = Sequence[int] | np.ndarray


@dataclass(frozen=True)
class RaggedLabels:
    """The label lists of N images as two arrays, which take little memory for many images.

    Attributes:
        label: the labels of all images, one image after the other, int64, shape (M,).
        length: number of labels of each image, int64, shape (N,).
    """

    label: np.ndarray
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.length)

    def take(self, images: np.ndarray) -> "RaggedLabels":
        """Return the lists of some images, in the order of their indices."""
        start = np.cumsum(self.length) - self.length
        length = self.length[images]
        shift = start[images] - (np.cumsum(length) - length)
        return RaggedLabels(self.label[np.repeat(shift, length) + np.arange(length.sum())], length)


LabelLists = Sequence[Labels] | RaggedLabels


def ragged_labels(label_lists: Sequence[Labels]) -> RaggedLabels:
    """Concatenate the label lists of N images; any of them may be empty."""
    length = np.fromiter(map(len, label_lists), np.int64, len(label_lists))
    labels: Iterable[int] = chain.from_iterable(label_lists)
    return RaggedLabels(np.fromiter(labels, np.int64, int(length.sum())), length)


def flatten_labels(
    label_lists: LabelLists, num_classes: int, what: str = "labels"
) -> tuple[np.ndarray, np.ndarray]:
    """Concatenate label lists and return each label with the index of its image.

    Args:
        label_lists: the labels of N images; any of them may be empty.
        num_classes: number of classes C.
        what: name of the lists in errors.

    Returns:
        label and image index of every entry, int64, both of shape (M,).

    Raises:
        ValueError: a class index is not in 0 … C − 1.
    """
    ragged = label_lists if isinstance(label_lists, RaggedLabels) else ragged_labels(label_lists)
    label = ragged.label
    image = np.repeat(np.arange(len(ragged)), ragged.length)
    outside = np.flatnonzero((label < 0) | (label >= num_classes))
    if outside.size:
        first = outside[0]
        raise ValueError(
            f"class index {label[first]} in the {what} of image {image[first]} is not in "
            f"0 … {num_classes - 1}; the annotation and the number of classes "
            f"({num_classes}) disagree"
        )
    return label, image


def share_of_known(label_sets: Sequence[Labels], known: Sequence[Labels]) -> float:
    """Return the share of N label sets that equal one of the known ones, in percent.

    >>> share_of_known([[0], [1, 0], [], [1]], known=[[0, 1], [1]])
    50.0
    """
    known_sets = {frozenset(labels) for labels in known}
    return float(100 * np.mean([frozenset(labels) in known_sets for labels in label_sets]))


def drop_repeats(
    label: np.ndarray, image: np.ndarray, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the first occurrence of each label of an image.

    Args:
        label: labels as from `flatten_labels`, shape (M,).
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
    """Convert label lists to a boolean matrix.

    Args:
        label_lists: the class indices of each of N images; repeats count once.
        num_classes: number of classes C.
        what: name of the lists in errors.

    Returns:
        Boolean matrix, shape (N, C).

    Raises:
        ValueError: a class index is not in 0 … C − 1.

    >>> label_matrix([[0, 2], []], num_classes=3)
    array([[ True, False,  True],
           [False, False, False]])
    """
    label, image = flatten_labels(label_lists, num_classes, what)
    matrix = np.zeros((len(label_lists), num_classes), dtype=bool)
    matrix[image, label] = True
    return matrix


def sparse_label_matrix(
    label_lists: LabelLists, num_classes: int, what: str = "labels"
) -> csr_array:
    """Convert label lists to the matrix of `label_matrix` as a sparse array."""
    label, image = flatten_labels(label_lists, num_classes, what)
    image, label = np.divmod(np.unique(image * num_classes + label), max(num_classes, 1))
    ends = np.cumsum(np.bincount(image, minlength=len(label_lists)))
    entries = np.ones(len(label), dtype=bool), label, np.concatenate([[0], ends])
    return csr_array(entries, shape=(len(label_lists), num_classes))
