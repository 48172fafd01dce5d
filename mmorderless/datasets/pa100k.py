"""PA-100K as published: attributes of pedestrians in one MATLAB file."""

import os.path as osp
import zlib

import numpy as np
from mmpretrain.datasets import MultiLabelDataset
from mmpretrain.registry import DATASETS
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from mmorderless.datasets.annotations import (
    Published,
    check_classes,
    check_keys,
    choose_classes,
    labels_of_rows,
    missing_annotation,
    select_images,
)
from mmorderless.datasets.faults import repeated_items, report_fault

PARTS = ("train", "val", "test")
SPLITS = {**{part: (part,) for part in PARTS}, "trainval": ("train", "val")}
PUBLISHED = {"train": 80_000, "val": 10_000, "test": 10_000, "trainval": 90_000}
NUM_ATTRIBUTES = 26

FORM = "give PA-100K's own annotation.mat; it may be incomplete: download it again"


def read_annotation(path: str) -> tuple[tuple[str, ...], dict[str, tuple[list[str], np.ndarray]]]:
    """Read and check annotation.mat.

    Args:
        path: the file. Of each part (train, val, test) it has `<part>_images_name` and
            `<part>_label`, and for all `attributes`.

    Returns:
        The names of the C attributes in the file's order; and for each part its N image names and
        their attributes, boolean, shape (N, C).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read or lacks a part; a label is not 0 or 1; an image has no
            attribute, occurs twice or is in two parts.
    """
    content = _load(path)
    attributes = check_classes(_texts(content["attributes"], "attributes", path), path)
    parts = {}
    part_of_image: dict[str, str] = {}
    for part in PARTS:
        names = _texts(content[f"{part}_images_name"], f"{part}_images_name", path)
        labels = np.asarray(content[f"{part}_label"])
        if labels.shape != (len(names), len(attributes)):
            raise ValueError(
                f"{path}: {part}_label must have the shape (images, attributes) = "
                f"{(len(names), len(attributes))}, got {labels.shape}; {FORM}"
            )
        wrong = ((labels != 0) & (labels != 1)).any(axis=1)
        for row in np.flatnonzero(wrong):
            report_fault(
                f"{path}: the labels of {names[row]} ({part}, row {row + 1}) must be 0 or 1, got "
                f"{labels[row].tolist()}; {FORM}"
            )
        # Everyone has a sex, an age and a viewpoint.
        for row in np.flatnonzero((labels == 0).all(axis=1)):
            report_fault(
                f"{path}: {names[row]} ({part}, row {row + 1}) has no attribute at all; rows and "
                "images of a damaged file are shifted: download it again"
            )
        for name in repeated_items(names):
            report_fault(f"{path}: {name} occurs twice in {part}; {FORM}")
        for name in dict.fromkeys(names):
            other = part_of_image.setdefault(name, part)
            if other != part:
                report_fault(f"{path}: {name} is in {other} and in {part}; {FORM}")
        parts[part] = names, labels == 1
    return attributes, parts


def _load(path: str) -> dict[str, np.ndarray]:
    keys = ["attributes", *(f"{part}_{key}" for part in PARTS for key in ("images_name", "label"))]
    try:
        content = loadmat(path, appendmat=False, variable_names=keys)
    except FileNotFoundError:
        raise missing_annotation(path) from None
    except (MatReadError, ValueError, TypeError, OSError, NotImplementedError, zlib.error) as error:
        raise ValueError(
            f"annotation file {path} cannot be read ({' '.join(str(error).split())}); {FORM}"
        ) from None
    check_keys(content, keys, path, FORM)
    return content


def _texts(cells: np.ndarray, what: str, path: str) -> list[str]:
    """Texts of a MATLAB cell array of shape (N, 1)."""
    try:
        texts = [cell.item() for cell in cells.ravel()]
    except (AttributeError, ValueError):  # no cell array, or a cell without exactly one text
        texts = [None]
    if any(not isinstance(text, str) for text in texts):
        raise ValueError(f"{path}: {what} must be a cell array of texts; {FORM}")
    return texts


@DATASETS.register_module()
class PA100K(MultiLabelDataset):
    """PA-100K: 26 attributes of 100,000 pedestrians, read from the owners' annotation.mat.

    Classes are the attributes in the file's order. The whole file is checked whichever split is
    used: copies in which rows and images are shifted by one are about.

    Gives per image `img_path` and `gt_label`, the sorted distinct class indices.

    Args:
        data_root: folder of the dataset.
        split: 'train' (80,000 images), 'val' (10,000), 'test' (10,000) or 'trainval', what most
            later work trains on.
        ann_file: annotation.mat, relative to `data_root`.
        data_prefix: folder of the images, relative to `data_root`.
        keep_unlabelled: whether images with none of the selected `classes` stay.
        **kwargs: of mmpretrain's `MultiLabelDataset`; `classes` selects attributes by name, in that
            order.

    Raises:
        FileNotFoundError: the annotation file is not there.
        ValueError: an unknown split, or a damaged file (see `read_annotation`).
    """

    def __init__(
        self,
        data_root: str = "",
        split: str = "train",
        ann_file: str = "annotation.mat",
        data_prefix: str | dict = "data",
        keep_unlabelled: bool = True,
        **kwargs,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r} of PA-100K; choose from {list(SPLITS)}")
        self.split = split
        self.keep_unlabelled = keep_unlabelled
        super().__init__(ann_file, data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the annotation file and take the split's images."""
        attributes, parts = read_annotation(self.ann_file)
        classes = choose_classes(attributes, self._metainfo.get("classes"), self.ann_file)
        self._metainfo["classes"] = classes
        columns = [attributes.index(name) for name in classes]
        return [
            {"img_path": osp.join(self.img_prefix, name), "gt_label": gt_label}
            for names, labels in (parts[part] for part in SPLITS[self.split])
            for name, gt_label in zip(names, labels_of_rows(labels[:, columns]))
        ]

    def filter_data(self) -> list[dict]:
        """Drop the images without a label unless they are to be kept."""
        return select_images(self.data_list, self.keep_unlabelled, self.ann_file)

    @property
    def published(self) -> Published | None:
        """Counts of the full split."""
        if len(self._metainfo["classes"]) != NUM_ATTRIBUTES:
            return None
        return Published(f"PA-100K {self.split}", PUBLISHED[self.split])
