"""PA-100K as published: attributes of pedestrians in one MATLAB file."""

import os.path as osp
from typing import Any

import numpy as np
from mmpretrain.registry import DATASETS

from mmorderless.datasets.annotations import (
    Published,
    check_classes,
    choose_classes,
    labels_of_rows,
)
from mmorderless.datasets.base import LabelSetDataset
from mmorderless.datasets.faults import repeated_items, report_fault
from mmorderless.datasets.json_values import check_keys
from mmorderless.datasets.mat_file import read_mat

FILE_SPLITS = ("train", "val", "test")
SPLITS = {**{split: (split,) for split in FILE_SPLITS}, "trainval": ("train", "val")}
PUBLISHED = {"train": 80_000, "val": 10_000, "test": 10_000, "trainval": 90_000}
NUM_ATTRIBUTES = 26

FORM = "give PA-100K's own annotation.mat; it may be incomplete: download it again"


def read_annotation(path: str) -> tuple[tuple[str, ...], dict[str, tuple[list[str], np.ndarray]]]:
    """Read and check annotation.mat.

    Args:
        path: the file. It has `attributes`, and `<split>_images_name` and `<split>_label` for each
            of train, val and test.

    Returns:
        The names of the C attributes in the file's order; and of each split its N image names and
        their attributes, boolean, shape (N, C).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be read or lacks a split; a label is not 0 or 1; an image has no
            attribute, occurs twice or is in two splits.
    """
    content = _load(path)
    attributes = check_classes(_texts(content["attributes"], "attributes", path), path)
    splits = {}
    split_of_image: dict[str, str] = {}
    for split in FILE_SPLITS:
        names = _texts(content[f"{split}_images_name"], f"{split}_images_name", path)
        labels = content[f"{split}_label"]
        shape = labels.shape if isinstance(labels, np.ndarray) else None
        if shape != (len(names), len(attributes)):
            raise ValueError(
                f"{path}: {split}_label must have the shape (images, attributes) = "
                f"{(len(names), len(attributes))}, got {shape}; {FORM}"
            )
        wrong = ((labels != 0) & (labels != 1)).any(axis=1)
        for row in np.flatnonzero(wrong):
            report_fault(
                f"{path}: the labels of {names[row]} ({split}, row {row + 1}) must be 0 or 1, got "
                f"{labels[row].tolist()}; {FORM}"
            )
        # Everyone has a sex, an age and a viewpoint.
        for row in np.flatnonzero((labels == 0).all(axis=1)):
            report_fault(
                f"{path}: {names[row]} ({split}, row {row + 1}) has no attribute at all; rows and "
                "images of a damaged file are shifted: download it again"
            )
        for name in repeated_items(names):
            report_fault(f"{path}: {name} occurs twice in {split}; {FORM}")
        for name in dict.fromkeys(names):
            other = split_of_image.setdefault(name, split)
            if other != split:
                report_fault(f"{path}: {name} is in {other} and in {split}; {FORM}")
        splits[split] = names, labels == 1
    return attributes, splits


def _load(path: str) -> dict[str, Any]:
    keys = ["attributes"]
    for split in FILE_SPLITS:
        keys += [f"{split}_images_name", f"{split}_label"]
    try:
        content = read_mat(path)
    except ValueError as error:
        raise ValueError(f"{error}; {FORM}") from None
    check_keys(content, keys, path, FORM)
    return content


def _texts(cells: Any, what: str, path: str) -> list[str]:
    """Return the texts of a cell array that holds nothing else."""
    texts = cells if isinstance(cells, list) else [None]
    for text in texts:
        if not isinstance(text, str) or not text.strip() or "\0" in text:
            raise ValueError(
                f"{path}: {what} must be a cell array of texts, got {text!r} in it; {FORM}"
            )
    return texts


@DATASETS.register_module()
class PA100K(LabelSetDataset):
    """PA-100K: 26 attributes of 100,000 pedestrians, read from the original annotation.mat.

    Classes are the attributes in the file's order. The whole file is checked whichever split is
    used, because copies exist in which rows and images are shifted by one.

    Args:
        data_root: folder of the dataset.
        split: 'train' (80,000 images), 'val' (10,000), 'test' (10,000) or 'trainval', which most
            later work trains on.
        ann_file: annotation.mat, relative to `data_root`.
        data_prefix: folder of the images, relative to `data_root`.
        **kwargs: of `LabelSetDataset`.

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
        **kwargs,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r} of PA-100K; choose from {list(SPLITS)}")
        self.split = split
        super().__init__(ann_file, data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the annotation file and select the split's images."""
        attributes, splits = read_annotation(self.ann_file)
        classes = choose_classes(attributes, self._metainfo.get("classes"), self.ann_file)
        self._metainfo["classes"] = classes
        columns = [attributes.index(name) for name in classes]
        return [
            {"img_path": osp.join(self.img_prefix, name), "gt_label": gt_label}
            for names, labels in (splits[split] for split in SPLITS[self.split])
            for name, gt_label in zip(names, labels_of_rows(labels[:, columns]))
        ]

    @property
    def published(self) -> Published | None:
        """Counts of the full split."""
        if len(self._metainfo["classes"]) != NUM_ATTRIBUTES:
            return None
        return Published(f"PA-100K {self.split}", PUBLISHED[self.split])
