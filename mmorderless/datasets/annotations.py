"""Checks that the datasets share: class names and label lists.

Every error names the file or image, the values and the remedy on one line. An error about one entry
of a file goes through `report_fault`, so that tools/check_dataset.py can list them all; an error
about a whole file is raised.
"""

import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from mmorderless.datasets.faults import repeated_items, report_fault
from mmorderless.datasets.json_values import shown
from mmorderless.datasets.text_files import read_lines

UNWRITABLE = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories: control characters, lone surrogates, ends of lines and paragraphs."""


@dataclass(frozen=True)
class Published:
    """Counts of a split as published with the dataset or in the paper.

    Attributes:
        name: dataset and split.
        images: number of examples.
        labels: number of image-label pairs, None where it is not known.
        most_labels: the largest number of labels of an image, None where it is not known.
        approximate: whether the numbers are rounded or disputed, so that a difference of up to 1 %
            does not count.
    """

    name: str
    images: int
    labels: int | None = None
    most_labels: int | None = None
    approximate: bool = False


def check_classes(classes: Sequence[str] | None, source: str) -> tuple[str, ...]:
    """Check class names and return them as a tuple.

    Raises:
        ValueError: there are none, a name is not text of one line or is blank, or a name occurs
            twice.
    """
    if not isinstance(classes, Sequence) or isinstance(classes, str) or len(classes) == 0:
        raise ValueError(
            f"no class names in {source} (got {shown(classes)}); list them there or in `classes`"
        )
    unnamed = [
        name
        for name in classes
        if not isinstance(name, str)
        or not name.strip()
        or any(unicodedata.category(character) in UNWRITABLE for character in name)
    ]
    if unnamed:
        raise ValueError(
            f"class names must be non-blank text of one line, got {shown(unnamed[0])} in {source}; "
            "correct it"
        )
    repeated = repeated_items(classes)
    if repeated:
        raise ValueError(f"class names {repeated} occur twice in {source}; name each class once")
    return tuple(classes)


def read_class_names(classes: Any) -> Any:
    """Return the option `classes` with the path of a file replaced by the names in it.

    Args:
        classes: names, or the path of a file with one per line (relative to the working directory,
            as in mmpretrain).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not UTF-8.
    """
    if not isinstance(classes, str):
        return classes
    remedy = "set `classes` to the path of a file or to a list of names"
    return read_lines(os.path.expanduser(classes), remedy)


def choose_classes(
    published: Sequence[str], chosen: Sequence[str] | None, source: str
) -> tuple[str, ...]:
    """Return the names of the classes to use.

    Args:
        published: the names of a published dataset's classes, in its order.
        chosen: the option `classes`: some of these names, in the wanted order; None for all.
        source: the file or folder that the published names come from, for the message.

    Raises:
        ValueError: a chosen name is not in the file, or a name in use is blank or occurs twice.
    """
    if chosen is None:
        return check_classes(published, source)
    chosen = check_classes(chosen, "the option `classes`")
    unknown = sorted(set(chosen) - set(published))
    if unknown:
        raise ValueError(
            f"`classes` names {unknown}, which {source} does not have; choose from "
            f"{list(published)}"
        )
    check_classes([name for name in published if name in chosen], source)
    return chosen


def check_label_set(
    labels: Any, num_classes: int, image: str, source: str, what: str = "labels"
) -> list[int]:
    """Check an image's labels and return the correct ones in ascending order.

    Args:
        labels: distinct class indices in any order, possibly none.
        num_classes: number of classes C.
        image: the image's name, for the message.
        source: the annotation file, for the message.
        what: the name of the list, for the message.

    Raises:
        ValueError: not a list of integers, an index is not in 0 … C − 1, or one occurs twice.
    """
    if not isinstance(labels, list) or any(type(label) is not int for label in labels):
        report_fault(
            f"{what} of {image} must be a list of class indices, got {shown(labels)} in {source}; "
            "write [] for none and [3] for one"
        )
        return []
    distinct = sorted(set(labels))
    if distinct and (distinct[0] < 0 or distinct[-1] >= num_classes):
        report_fault(
            f"{what} of {image} must be in 0 … {num_classes - 1} ({num_classes} classes), "
            f"got {shown(labels)} in {source}; correct them or the class names"
        )
    if len(distinct) != len(labels):
        report_fault(
            f"{what} of {image} must be distinct, got {shown(labels)} in {source}; list each once"
        )
    return [label for label in distinct if 0 <= label < num_classes]


def labels_of_rows(matrix: np.ndarray) -> list[list[int]]:
    """Turn a boolean matrix of shape (N, C) into N ascending lists of class indices."""
    rows, labels = np.nonzero(matrix)
    borders = np.searchsorted(rows, np.arange(len(matrix) + 1)).tolist()
    flat = labels.tolist()
    return [flat[start:end] for start, end in pairwise(borders)]
