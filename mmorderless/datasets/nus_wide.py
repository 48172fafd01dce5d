"""NUS-WIDE as published: a 0/1 file per concept, image lists with backslashes.

Letters: N number of images, C number of concepts.
"""

import os.path as osp
from collections.abc import Sequence

import numpy as np
from mmpretrain.registry import DATASETS

from mmorderless.datasets.annotations import (
    Published,
    check_classes,
    choose_classes,
    labels_of_rows,
)
from mmorderless.datasets.base import LabelSetDataset
from mmorderless.datasets.faults import repeated_items, report_doubt, report_fault
from mmorderless.datasets.text_files import read_lines, read_text

PROTOCOLS = ("paper", "official", "official_labeled")
SPLITS = ("train", "test")
NUM_SPLITS = 3
NUM_TRAIN = 150_000
NUM_CONCEPTS = 81
DAMAGED = "it may be incomplete: download it again"
LAYOUT = "set data_root to the folder with ConceptsList/, Groundtruth/ and ImageList/"
PUBLISHED = {
    "paper": {"train": 150_000, "test": 59_347},
    "official": {"train": 161_789, "test": 107_859},
    "official_labeled": {"train": 125_449, "test": 83_898},
}


def read_concepts(path: str, may_differ: bool) -> tuple[str, ...]:
    """Read the names of the concepts, one per line.

    Args:
        path: Concepts81.txt.
        may_differ: whether another number of concepts than 81 is only a doubt and not an error.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: not UTF-8, or the concepts are not 81 different ones.
    """
    concepts = check_classes(read_lines(path, LAYOUT), path)
    if len(concepts) != NUM_CONCEPTS:
        message = f"{path} has {len(concepts)} concepts, NUS-WIDE {NUM_CONCEPTS}; {DAMAGED}"
        if not may_differ:
            raise ValueError(f"{message}; if the list is your own, repeat its names in `classes`")
        report_doubt(f"{message}, unless the list is your own")
    return concepts


def read_image_list(path: str) -> list[str]:
    r"""Return the image paths of an image list, with the file's `\` replaced by `/`.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: not UTF-8, an image is no JPEG, or it is listed twice.
    """
    images = [line.replace("\\", "/") for line in read_lines(path, LAYOUT)]
    for image in images:
        if not image.lower().endswith(".jpg"):
            report_fault(f"{path} must list images that end in .jpg, got {image!r}; {DAMAGED}")
    for image in repeated_items(images):
        report_fault(f"image {image} is listed twice in {path}; download it again")
    return images


def read_labels(paths: Sequence[str], num_images: int) -> np.ndarray:
    """Read the label files of the concepts.

    Args:
        paths: a file per concept, with a line of 0 or 1 per image.
        num_images: number of images N.

    Returns:
        Boolean matrix, shape (N, C).

    Raises:
        OSError: a file is missing or cannot be read.
        ValueError: a file does not have N lines, or a line is not 0 or 1.
    """
    labels = np.zeros((num_images, len(paths)), dtype=bool)
    for c, path in enumerate(paths):
        values = np.array(read_text(path, LAYOUT).split())
        if len(values) != num_images:
            raise ValueError(
                f"{path} must have a line for each of the {num_images} images of the image list, "
                f"got {len(values)}; download it again"
            )
        labels[:, c] = values == "1"
        for row in np.flatnonzero(~labels[:, c] & (values != "0")):
            report_fault(
                f"{path}, line {row + 1}: must be 0 or 1, got {str(values[row])!r}; "
                "download it again"
            )
    return labels


def draw_split(num_images: int, num_train: int, seed: int, split_index: int) -> np.ndarray:
    """Draw the training images of a random split.

    NumPy keeps the raw numbers of PCG64 the same in every version, unlike `permutation`; so these
    are sorted.

    Args:
        num_images: number of images to divide.
        num_train: how many of them are for training.
        seed: seed of all splits.
        split_index: which of the splits.

    Returns:
        Boolean, shape (num_images,): True for training.

    Raises:
        ValueError: training or testing would have no image.
    """
    if not 0 < num_train < num_images:
        raise ValueError(
            f"cannot draw {num_train} training images of {num_images} and leave some for testing; "
            f"set num_train between 1 and {num_images - 1}, or check that the files are complete"
        )
    numbers = np.random.PCG64(np.random.SeedSequence([seed, split_index])).random_raw(num_images)
    is_train = np.zeros(num_images, dtype=bool)
    is_train[np.argsort(numbers, kind="stable")[:num_train]] = True
    return is_train


@DATASETS.register_module()
class NusWide(LabelSetDataset):
    """NUS-WIDE with its 81 concepts, in its original folders.

    `data_root` holds `ConceptsList/Concepts81.txt`, `Groundtruth/AllLabels/Labels_<concept>.txt`,
    `Groundtruth/TrainTestLabels/Labels_<concept>_{Train,Test}.txt`,
    `ImageList/{Imagelist,TrainImagelist,TestImagelist}.txt` and the images in `Flickr/`. Only the
    files that the protocol needs are read. The protocols:

    - paper: the 209,347 images with a label; 150,000 drawn at random for training, the rest for
      testing. There are three such splits; they depend on the seed alone (and not on which images
      are on disk). The authors did not publish theirs.
    - official: the original split, including images without a label (161,789 / 107,859).
    - official_labeled: the original split without them (125,449 / 83,898).

    Args:
        data_root: folder of the dataset.
        split: 'train' or 'test'.
        protocol: 'paper', 'official' or 'official_labeled'.
        split_index: which of the paper's splits: 0, 1 or 2.
        seed: seed of the paper's splits.
        num_train: number of training images of the paper's splits.
        data_prefix: folder of the images, relative to `data_root`.
        **kwargs: of `LabelSetDataset`. `drop_missing` helps, since many of Flickr's links are dead;
            `classes` do not change which images are used.

    Raises:
        FileNotFoundError: an original file does not exist.
        ValueError: an unknown option, or files that contradict each other.
    """

    def __init__(
        self,
        data_root: str = "",
        split: str = "train",
        protocol: str = "paper",
        split_index: int = 0,
        seed: int = 0,
        num_train: int = NUM_TRAIN,
        data_prefix: str | dict = "Flickr",
        **kwargs,
    ) -> None:
        if "ann_file" in kwargs:
            raise ValueError(
                f"NusWide has no ann_file, got {kwargs['ann_file']!r}; remove it and {LAYOUT}"
            )
        if split not in SPLITS or protocol not in PROTOCOLS:
            raise ValueError(
                f"unknown split {split!r} or protocol {protocol!r} of NUS-WIDE; choose from "
                f"{list(SPLITS)} and {list(PROTOCOLS)}"
            )
        if split_index not in range(NUM_SPLITS) or seed < 0:
            raise ValueError(
                f"NUS-WIDE needs split_index 0 … {NUM_SPLITS - 1} and seed ≥ 0, got "
                f"split_index={split_index}, seed={seed}; correct them"
            )
        self.split = split
        self.protocol = protocol
        self.split_index = split_index
        self.seed = seed
        self.num_train = num_train
        super().__init__("", data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the protocol's files and select the split's images."""
        concepts_file = osp.join(self.data_root, "ConceptsList", "Concepts81.txt")
        concepts = read_concepts(concepts_file, self._metainfo.get("classes") is not None)
        classes = choose_classes(concepts, self._metainfo.get("classes"), concepts_file)
        self._metainfo["classes"] = classes
        if self.protocol == "paper":
            images, labels = self._read("Imagelist.txt", "AllLabels", concepts, "")
            labeled = np.flatnonzero(labels.any(axis=1))
            is_train = draw_split(len(labeled), self.num_train, self.seed, self.split_index)
            used = labeled[is_train == (self.split == "train")]
        else:
            split = self.split.capitalize()
            images, labels = self._read(
                f"{split}Imagelist.txt", "TrainTestLabels", concepts, f"_{split}"
            )
            is_used = labels.any(axis=1) | (self.protocol == "official")
            used = np.flatnonzero(is_used)
        columns = [concepts.index(name) for name in classes]
        gt_labels = labels_of_rows(labels[np.ix_(used, columns)])
        return [
            {"img_path": osp.join(self.img_prefix, images[i]), "gt_label": gt_label}
            for i, gt_label in zip(used.tolist(), gt_labels)
        ]

    def _read(
        self, image_list: str, folder: str, concepts: Sequence[str], suffix: str
    ) -> tuple[list[str], np.ndarray]:
        images = read_image_list(osp.join(self.data_root, "ImageList", image_list))
        truth = osp.join(self.data_root, "Groundtruth", folder)
        paths = [osp.join(truth, f"Labels_{concept}{suffix}.txt") for concept in concepts]
        return images, read_labels(paths, len(images))

    @property
    def published(self) -> Published | None:
        """Counts of the full split; None for other classes or another number of training images."""
        if len(self._metainfo["classes"]) != NUM_CONCEPTS:
            return None
        if self.protocol == "paper" and self.num_train != NUM_TRAIN:
            return None
        name = f"NUS-WIDE {self.split}, protocol {self.protocol}"
        return Published(name, PUBLISHED[self.protocol][self.split])
