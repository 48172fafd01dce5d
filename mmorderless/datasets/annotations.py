"""Checks that the datasets share: annotation files, class names, label lists, image files.

Every error names the file or image, the values and the remedy on one line. An error about one entry
of a file goes through `report_fault`, so that tools/check_dataset.py can list them all; an error
about a whole file is raised.
"""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from mmengine.logging import print_log

from mmorderless.datasets.faults import repeated_items, report_fault

ANNOTATION_REMEDY = "set data_root and ann_file to its location"


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


def missing_file(path: str, remedy: str = ANNOTATION_REMEDY) -> FileNotFoundError:
    """Return the error for a file that does not exist."""
    return FileNotFoundError(f"{path} does not exist; {remedy}")


def read_lines(path: str, remedy: str = ANNOTATION_REMEDY) -> list[str]:
    """Return the lines of a UTF-8 file, stripped; empty lines are skipped.

    Raises:
        FileNotFoundError: there is no such file.
    """
    try:
        with open(path, encoding="utf-8-sig") as file:
            return [line.strip() for line in file if line.strip()]
    except FileNotFoundError:
        raise missing_file(path, remedy) from None


def read_annotation_file(path: str, object_hook: Callable[[dict], Any] | None = None) -> dict:
    """Read an annotation file whose top level is a JSON object.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not JSON, or not an object.
    """
    try:
        with open(path, encoding="utf-8") as file:
            annotations = json.load(file, object_hook=object_hook)
    except FileNotFoundError:
        raise missing_file(path) from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(
            f"annotation file {path} is not valid JSON ({error}); "
            "it may be incomplete: download or write it again"
        ) from None
    if not isinstance(annotations, dict):
        raise ValueError(
            f"annotation file {path} must hold a JSON object, got {type(annotations).__name__}; "
            "check that ann_file names the right file"
        )
    return annotations


def check_keys(record: Any, keys: Sequence[str], what: str, form: str) -> None:
    """Raise a ValueError when a JSON object lacks one of the keys."""
    missing = [key for key in keys if not isinstance(record, dict) or key not in record]
    if missing:
        raise ValueError(f"{what} lacks {', '.join(missing)}; {form}")


def has_keys(record: Any, keys: Sequence[str], what: str, form: str) -> bool:
    """Tell whether an entry of a file passes `check_keys`; a fault is reported if it does not."""
    try:
        check_keys(record, keys, what, form)
    except ValueError as error:
        report_fault(str(error))
        return False
    return True


def check_classes(classes: Sequence[str] | None, source: str) -> tuple[str, ...]:
    """Check class names and return them as a tuple.

    Raises:
        ValueError: there are none, a name is not text or is blank, or a name occurs twice.
    """
    if classes is None or isinstance(classes, str) or len(classes) == 0:
        raise ValueError(
            f"no class names in {source} (got {classes!r}); list them there or in `classes`"
        )
    unnamed = [name for name in classes if not isinstance(name, str) or not name.strip()]
    if unnamed:
        raise ValueError(f"class names must be non-blank text, got {unnamed[0]!r} in {source}")
    repeated = repeated_items(classes)
    if repeated:
        raise ValueError(f"class names {repeated} occur twice in {source}; name each class once")
    return tuple(classes)


def choose_classes(
    published: Sequence[str], chosen: Sequence[str] | None, source: str
) -> tuple[str, ...]:
    """Return the names of the classes to use.

    Args:
        published: the names of a published dataset's classes, in its order.
        chosen: the option `classes`: some of these names, in the wanted order; None for all.
        source: the file or folder that the published names come from, for the message.

    Raises:
        ValueError: a chosen name is not in the file, or a name is blank or occurs twice.
    """
    names = check_classes(published, source)
    if chosen is None:
        return names
    chosen = check_classes(chosen, "the option `classes`")
    unknown = sorted(set(chosen) - set(names))
    if unknown:
        raise ValueError(
            f"`classes` names {unknown}, which {source} does not have; choose from {list(names)}"
        )
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
            f"{what} of {image} must be a list of class indices, got {labels!r} in {source}; "
            "write [] for none and [3] for one"
        )
        return []
    distinct = sorted(set(labels))
    if distinct and (distinct[0] < 0 or distinct[-1] >= num_classes):
        report_fault(
            f"{what} of {image} must be in 0 … {num_classes - 1} ({num_classes} classes), "
            f"got {labels} in {source}; correct them or the class names"
        )
    if len(distinct) != len(labels):
        report_fault(
            f"{what} of {image} must be distinct, got {labels} in {source}; list each once"
        )
    return [label for label in distinct if 0 <= label < num_classes]


def check_ignored(
    ignored: Any, labels: Sequence[int], num_classes: int, image: str, source: str
) -> list[int]:
    """Check the classes that are not judged in an image, `gt_ignore`, as `check_label_set` does.

    Returns:
        Those that are not labels of the image, in ascending order.
    """
    checked = check_label_set(ignored, num_classes, image, source, "ignored classes")
    return [c for c in checked if c not in labels]


def labels_of_rows(matrix: np.ndarray) -> list[list[int]]:
    """Turn a boolean matrix of shape (N, C) into N ascending lists of class indices."""
    rows, labels = np.nonzero(matrix)
    borders = np.searchsorted(rows, np.arange(len(matrix) + 1)).tolist()
    flat = labels.tolist()
    return [flat[start:end] for start, end in pairwise(borders)]


def are_files(paths: Sequence[str]) -> list[bool]:
    """Tell which files exist by listing each folder once; a look-up per file is slow over NFS."""
    names_in: dict[str, set[str]] = {}
    exist = []
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in names_in:
            is_folder = os.path.isdir(folder or ".")
            names_in[folder] = set(os.listdir(folder or ".")) if is_folder else set()
        exist.append(name in names_in[folder])
    return exist


def select_images(records: list[dict], keep_unlabeled: bool, source: str) -> list[dict]:
    """Drop the images without a label, unless they are to be kept.

    Raises:
        ValueError: no image is left.
    """
    selected = records if keep_unlabeled else [record for record in records if record["gt_label"]]
    if not selected:
        remedy = "set keep_unlabeled=True to keep them" if records else "it must list images"
        raise ValueError(f"{source} lists {len(records)} images, none of them to use; {remedy}")
    return selected


def images_on_disk(dataset: Any) -> list[dict]:
    """Return a dataset's records whose image exists; the others count as dropped.

    Raises:
        ValueError: not one of the images exists.
    """
    records = dataset.data_list
    exist = are_files([record["img_path"] for record in records])
    found = [record for record, exists in zip(records, exist) if exists]
    if not found:
        raise ValueError(
            f"none of {len(records)} images is in {dataset.img_prefix}; set data_root and "
            "data_prefix to their location"
        )
    note_dropped(dataset, "images not on disk", len(records) - len(found), dataset.img_prefix)
    return found


def note_dropped(dataset: Any, reason: str, number: int, source: str) -> None:
    """Log how many examples a dataset drops, and keep the number in its `dropped`."""
    dataset.dropped[reason] = number
    print_log(f"{type(dataset).__name__}: dropped {number} {reason} ({source})", logger="current")
