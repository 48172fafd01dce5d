"""Fixed label orders: frequent-first, rare-first, dictionary, random (paper, section 3.2)."""

from collections.abc import Sequence

import numpy as np

from mmorderless.labels.label_lists import LabelLists, flatten_labels

FIXED_ORDERS = ("frequent_first", "rare_first", "dictionary", "random")


def check_order(order: str) -> None:
    """Raise a ValueError when an order's name is unknown."""
    if order not in FIXED_ORDERS:
        raise ValueError(f"unknown label order {order!r}; choose one of {', '.join(FIXED_ORDERS)}")


def count_labels(label_sets: LabelLists, num_classes: int) -> np.ndarray:
    """Count in how many images each class occurs.

    Args:
        label_sets: the distinct class indices of each image.
        num_classes: number of classes C.

    Returns:
        Image counts, int64, shape (C,).

    Raises:
        ValueError: a class index is not in 0 … C − 1.

    >>> count_labels([[0, 2], [2], []], num_classes=4)
    array([1, 0, 2, 0])
    """
    label, _ = flatten_labels(label_sets, num_classes)
    return np.bincount(label, minlength=num_classes)


def class_ranks(order: str, classes: Sequence[str], counts: np.ndarray | None = None) -> np.ndarray:
    """Rank the classes in a fixed order.

    Args:
        order: `frequent_first` (image counts descending), `rare_first` (ascending) or
            `dictionary` (by class name). Equal counts are ordered by class name.
        classes: class names, C distinct strings.
        counts: images of the training set per class, shape (C,); not needed for `dictionary`.

    Returns:
        Ranks, int64, shape (C,): the label of rank 0 is emitted first.

    Raises:
        ValueError: the order is unknown or has no ranks, or counts and names do not match.

    >>> class_ranks("rare_first", ["cow", "dog", "ant"], np.array([5, 2, 5]))
    array([2, 0, 1])
    """
    check_order(order)
    if order == "random":
        raise ValueError("the random order is drawn for each image and has no class ranks")
    by_name = np.argsort(np.argsort(np.asarray(classes, dtype=np.str_), kind="stable"))
    if order == "dictionary":
        return by_name
    if counts is None or len(counts) != len(classes):
        raise ValueError(
            f"{order} needs one image count per class: got "
            f"{'none' if counts is None else len(counts)} for {len(classes)} classes"
        )
    signed = np.asarray(counts, dtype=np.int64) * (-1 if order == "frequent_first" else 1)
    in_order = np.lexsort((by_name, signed))  # the last key is the first to sort by
    ranks = np.empty(len(classes), dtype=np.int64)
    ranks[in_order] = np.arange(len(classes))
    return ranks
