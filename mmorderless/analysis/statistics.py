"""Statistics of label sets and of the order in which labels are emitted (pure NumPy).

N images, C classes, T steps of the longest sequence. A *sequence* holds the labels of one image in
order of emission, without END, as ints or an int array.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

Labels = Sequence[int] | np.ndarray


def flatten_labels(
    label_lists: Sequence[Labels], num_classes: int, what: str = "labels"
) -> tuple[np.ndarray, np.ndarray]:
    """Join the label lists of all images.

    Args:
        label_lists: the labels of each image, any of them possibly empty.
        num_classes: number of classes C.
        what: how an error calls the lists.

    Returns:
        label and image index of every entry, int64, both of shape (sum of the lengths,).

    Raises:
        ValueError: a class index is not in 0 … C − 1.
    """
    lengths = np.fromiter((len(labels) for labels in label_lists), np.int64, len(label_lists))
    joined: Iterable[int] = chain.from_iterable(label_lists)
    label = np.fromiter(joined, np.int64, int(lengths.sum()))
    image = np.repeat(np.arange(len(lengths)), lengths)
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


def cooccurrence(label_sets: np.ndarray) -> np.ndarray:
    """Count in how many images two classes occur together: Σ_i l_iᵀ l_i, the diagonal zeroed.

    Args:
        label_sets: boolean, shape (N, C).

    Returns:
        Image counts, int64, shape (C, C), symmetric.
    """
    ones = np.asarray(label_sets, dtype=np.float64)  # matrix products of floats use BLAS
    counts = np.rint(ones.T @ ones).astype(np.int64)
    np.fill_diagonal(counts, 0)
    return counts


def counts_at_step(sequences: Sequence[Labels], num_classes: int) -> np.ndarray:
    """Count in how many images each label is emitted at each step.

    Args:
        sequences: the raw sequences (repeats included) of N images.
        num_classes: number of classes C.

    Returns:
        Image counts, int64, shape (T, C). T is 0 when nothing was emitted.

    Raises:
        ValueError: a class index is not in 0 … C − 1.
    """
    label, image = flatten_labels(sequences, num_classes, "sequence")
    start = np.searchsorted(image, image)  # where the image's labels begin
    step = np.arange(len(label)) - start
    num_steps = int(step.max()) + 1 if step.size else 0
    counts = np.bincount(step * num_classes + label, minlength=num_steps * num_classes)
    return counts.reshape(num_steps, num_classes)


def share_at_step(counts: np.ndarray) -> np.ndarray:
    """Share of each label among the labels emitted at a step, in percent.

    Args:
        counts: image counts from `counts_at_step`, shape (T, C).

    Returns:
        Percentages, shape (T, C); every row sums to 100.
    """
    return 100 * counts / counts.sum(axis=1, keepdims=True)


def pair_order_counts(sequences: Sequence[Labels], num_classes: int) -> np.ndarray:
    """Count in how many images one label was emitted before another.

    Repeats of a label are removed first, keeping the first one (paper, section 4.1).

    Args:
        sequences: the sequences of N images.
        num_classes: number of classes C.

    Returns:
        before, int64, shape (C, C): entry [a, b] is the number of images that emit a before b.

    Raises:
        ValueError: a class index is not in 0 … C − 1.
    """
    label, image = flatten_labels(sequences, num_classes, "sequence")
    label, image = drop_repeats(label, image, num_classes)
    pairs = [np.empty(0, dtype=np.int64)]
    # All pairs that are `gap` steps apart at once; the longest sequence bounds the number of gaps.
    for gap in range(1, len(label)):
        together = image[gap:] == image[:-gap]
        if not together.any():
            break
        pairs.append(label[:-gap][together] * num_classes + label[gap:][together])
    before = np.bincount(np.concatenate(pairs), minlength=num_classes * num_classes)
    return before.reshape(num_classes, num_classes)


def pair_rigidness(before: np.ndarray) -> np.ndarray:
    """Share of the more frequent order of each pair of labels, in percent.

    Args:
        before: counts from `pair_order_counts`, shape (C, C).

    Returns:
        Percentages between 50 and 100, shape (C, C), symmetric; NaN where the two labels were
        never emitted in the same image, and on the diagonal.
    """
    together = before + before.T
    share = np.full(before.shape, np.nan)
    np.divide(100 * np.maximum(before, before.T), together, out=share, where=together > 0)
    return share


def order_rigidness(before: np.ndarray) -> float:
    """Order-rigidness of all pairs of labels (paper, section 4.1), in percent.

    Σ_{a<b} max(before[a, b], before[b, a]) / Σ_{a<b} (before[a, b] + before[b, a]). A fixed order
    gives 100. A pair that occurs once counts as 100, so few images look rigid: compare with
    `random_order_rigidness`.

    Args:
        before: counts from `pair_order_counts`, shape (C, C).

    Returns:
        The percentage; NaN when no image has two labels.
    """
    more_frequent = np.triu(np.maximum(before, before.T), 1).sum()
    together = before.sum()
    return float(100 * more_frequent / together) if together else float("nan")


def random_order_rigidness(before: np.ndarray) -> float:
    """Expected order-rigidness when the same label sets are ordered uniformly at random.

    Two labels that are n times together give E max(K, n − K) with K ~ Bin(n, ½). With m = ⌈n/2⌉
    this is n/2 + m · C(2m, m) / 4^m (de Moivre's mean absolute deviation).

    Args:
        before: counts from `pair_order_counts`, shape (C, C); only the sums of the two orders of
            a pair matter.

    Returns:
        The percentage; NaN when no image has two labels.
    """
    together = np.triu(before + before.T, 1)
    together = together[together > 0]
    if not together.size:
        return float("nan")
    half = (together + 1) // 2
    # C(2m, m) / 4^m for m = 0, 1, … is the running product of 1 − 1/(2m).
    factors = 1 - 0.5 / np.arange(1, half.max() + 1)
    central = np.concatenate([[1.0], np.cumprod(factors)])
    expected = together / 2 + half * central[half]
    return float(100 * expected.sum() / together.sum())
