"""Checks of the labels of a whole training set."""

from collections.abc import Sequence

import numpy as np


def labelless_problem(counts: np.ndarray, what: str) -> str | None:
    """Say that a training set has no label at all; None if it has one.

    Args:
        counts: number of images of each class, shape (C,), as `count_labels` returns it.
        what: the training set, for the message.
    """
    if counts.any():
        return None
    return (
        f"no image of {what} has one of the {len(counts)} labels, so there is nothing to train on; "
        "check the annotation and that the class names are spelled as in it"
    )


def classes_without_image(counts: np.ndarray, classes: Sequence[str]) -> list[str]:
    """List the names of the classes that no image has.

    Args:
        counts: number of images of each class, shape (C,), as `count_labels` returns it.
        classes: the C class names.
    """
    return [name for name, count in zip(classes, counts, strict=True) if count == 0]


def steps_problem(
    label_sets: Sequence[Sequence[int]], images: Sequence[str], max_steps: int
) -> str | None:
    """Say that the largest label set does not fit into a head's steps; None if it does.

    Args:
        label_sets: labels of each image, at least one image.
        images: path of each image.
        max_steps: maximum number of steps, including END.
    """
    most, image = max(zip(map(len, label_sets), images))
    if most < max_steps:
        return None
    return (
        f"{image} has {most} labels, which do not fit with END into max_steps={max_steps}; "
        f"set model.head.max_steps to {most + 1} or more"
    )
