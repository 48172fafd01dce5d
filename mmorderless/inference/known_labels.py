"""Labels of images that a user knows and the model completes."""

import os
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from mmorderless.datasets.image_paths import join_paths
from mmorderless.datasets.known_labels import read_known_csv

Labels = Sequence[str | int]


class KnownClasses(NamedTuple):
    """Class indices that are known of an image.

    Args:
        given: its labels, in the order in which a sequence begins with them.
        excluded: what it does not have.
    """

    given: list[int]
    excluded: list[int]


def known_labels(
    given: Labels | Sequence[Labels | None] | None,
    excluded: Labels | Sequence[Labels | None] | None,
    images: Sequence[str | int],
    classes: Sequence[str],
    max_given: int | None,
) -> list[KnownClasses]:
    """Return the known labels of each image as class indices.

    Args:
        given: class names or indices for all images, or a list of these, or None, for each image.
        excluded: the same of the classes that are not labels.
        images: path of each image, or its number.
        classes: class names.
        max_given: most labels that the model can be given; None for any number.

    Raises:
        ValueError: the lists are not one for each image; a name or index is no class or occurs
            twice, a class is both given and excluded, or too many labels are given.
    """
    given_lists = _list_per_image(given, len(images), "given")
    excluded_lists = _list_per_image(excluded, len(images), "excluded")
    known = []
    for image, lists in zip(images, zip(given_lists, excluded_lists)):
        where = f"image {image}"
        indices = KnownClasses(
            *(
                [_class_index(label, classes, f"{where}, {option}") for label in labels]
                for option, labels in zip(KnownClasses._fields, lists)
            )
        )
        for option, labels in indices._asdict().items():
            if repeated := [c for c in labels if labels.count(c) > 1]:
                raise ValueError(
                    f"{where}: {classes[repeated[0]]!r} occurs twice in {option}; list it once"
                )
        if both := [c for c in indices.given if c in indices.excluded]:
            raise ValueError(
                f"{where}: {classes[both[0]]!r} is given and excluded; remove it from one of them"
            )
        if max_given is not None and len(indices.given) > max_given:
            raise ValueError(
                f"{where}: {len(indices.given)} labels are given, but the model emits at most "
                f"{max_given} (max_steps={max_given + 1} with END); give fewer"
            )
        known.append(indices)
    return known


def read_known_lists(file: str, images: Sequence[Any]) -> tuple[list[list[str]], list[list[str]]]:
    """Read the given and the excluded labels of each image from a CSV file.

    Args:
        file: see `datasets.known_labels`; its paths are relative to its folder.
        images: images to predict, paths or pictures; of those that are not in the file nothing is
            known.

    Raises:
        FileNotFoundError, OSError, ValueError: see `datasets.known_labels`; or an image of the file
            is not among the images to predict.
    """
    rows = read_known_csv(file)
    folder = os.path.dirname(file)
    paths = map(os.path.abspath, join_paths(folder, [row.image for row in rows], file))
    row_of = dict(zip(paths, rows))
    wanted = [os.path.abspath(image) if isinstance(image, str) else "" for image in images]
    if missing := [row.image for path, row in row_of.items() if path not in {*wanted}]:
        raise ValueError(
            f"{file} has {len(missing)} images that are not predicted, such as {missing[0]}; "
            f"predict them too, or remove their rows (paths are relative to {folder or '.'})"
        )
    found = [row_of.get(path) for path in wanted]
    return [row.labels if row else [] for row in found], [
        row.ignored if row else [] for row in found
    ]


def _list_per_image(values: Any, number: int, option: str) -> list[Labels]:
    """Return a list for each image from one for all images or one for each."""
    if values is None:
        return [[]] * number
    if isinstance(values, list | tuple):
        if all(isinstance(value, str | int | np.integer) for value in values):
            return [values] * number
        if all(value is None or isinstance(value, list | tuple) for value in values):
            if len(values) == number:
                return [value or [] for value in values]
            raise ValueError(
                f"{option} has lists for {len(values)} images, but {number} are predicted; give "
                "one list of class names or indices for all images, or one for each"
            )
    raise ValueError(
        f"{option} must be a list of class names or indices for all images, or a list with such a "
        f"list or None for each image, got {values!r}"
    )


def _class_index(label: str | int, classes: Sequence[str], where: str) -> int:
    """Return the index of a class that is given by its name or index."""
    if isinstance(label, str) and label in classes:
        return classes.index(label)
    is_index = isinstance(label, int | np.integer) and not isinstance(label, bool)
    if is_index and 0 <= label < len(classes):
        return int(label)
    raise ValueError(
        f"{where}: {label!r} is not one of the {len(classes)} classes ({', '.join(classes[:5])}"
        f"{', …' if len(classes) > 5 else ''}; indices from 0 on); correct it"
    )
