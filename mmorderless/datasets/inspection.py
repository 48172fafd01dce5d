"""Inspect the datasets of a config: what they contain, and everything that is wrong with them."""

import copy
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import mmengine.fileio as fileio
import numpy as np
from mmengine.config import Config, ConfigDict
from mmpretrain.datasets import KFoldDataset
from mmpretrain.registry import DATASETS

from mmorderless.datasets.annotations import Published, check_label_set
from mmorderless.datasets.class_names import compare_names
from mmorderless.datasets.faults import collect_faults, repeated_items
from mmorderless.datasets.image_paths import image_backend, is_local
from mmorderless.datasets.label_checks import labelless_problem, steps_problem
from mmorderless.datasets.loading import LoadImage
from mmorderless.datasets.partition import REPEATING_WRAPPERS, nested_datasets
from mmorderless.datasets.text_files import READ_ERRORS, reason_of
from mmorderless.errors import error_line, is_user_error
from mmorderless.labels.fixed_orders import count_labels

SPLITS = ("train", "val", "test")
FULL_SHARE = 0.9
"""A split with a smaller share of the published images is taken for a part of it."""


@dataclass
class Split:
    """Contents and problems of one split.

    Attributes:
        name: its name, or those of several splits that have the same dataset.
        dataset: the dataset's type.
        classes: class names, None where the dataset has none.
        images: path of each example's image.
        examples: identifier of each example: the normalized path, and the box where there is one.
        labels: label set of each example; wrong labels are left out.
        dropped: how many examples the dataset left out, by reason.
        backend_args: storage backend of the images.
        published: the split's published counts.
        is_part: whether it is a part of a divided dataset (`val_split`).
        problems: what is wrong, by kind.
    """

    name: str
    dataset: str
    classes: Sequence[str] | None = None
    images: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    labels: list[list[int]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    backend_args: dict | None = None
    published: Published | None = None
    is_part: bool = False
    problems: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, problems: Sequence[str]) -> None:
        """Set the problems of one kind, each on one line that can be printed, without repeats."""
        if problems:
            self.problems[kind] = list(dict.fromkeys(map(printable, problems)))


def printable(text: str) -> str:
    """Return text as one line; bytes of a file name that are not UTF-8 are escaped."""
    return " ".join(text.split()).encode(errors="backslashreplace").decode()


def split_configs(cfg: Config) -> dict[str, ConfigDict]:
    """Return the dataset config of each split; splits with the same dataset are merged.

    Raises:
        ValueError: it has none.
    """
    configs: dict[str, ConfigDict] = {}
    for split in SPLITS:
        if cfg.get(f"{split}_dataloader") is None:
            continue
        dataset = cfg[f"{split}_dataloader"].dataset
        while dataset.type in REPEATING_WRAPPERS:
            dataset = dataset.dataset
        same = next((name for name, other in configs.items() if other == dataset), None)
        if same is not None:
            configs[f"{same} and {split}"] = configs.pop(same)
        else:
            configs[split] = dataset
    if not configs:
        raise ValueError(f"{cfg.filename} has no train_, val_ or test_dataloader to check")
    return configs


def read_split(name: str, config: ConfigDict) -> Split:
    """Load a split's dataset and collect the problems of its annotation."""
    *wrappers, whole_config = nested_datasets(copy.deepcopy(config))
    whole_config.pop("lazy_init", None)
    split = Split(name, whole_config.type)
    with collect_faults() as faults:
        try:
            dataset = DATASETS.build(wrappers[0] if wrappers else whole_config)
            records = [dataset.get_data_info(i) for i in range(len(dataset))]
        except Exception as error:
            if not is_user_error(error):
                raise
            split.add("dataset", [*faults, error_line(error)])
            return split
    split.classes = dataset.metainfo.get("classes")
    whole = dataset
    split.is_part = isinstance(dataset, KFoldDataset)
    if split.is_part:
        whole, parts = dataset.dataset, dataset.num_splits
        split.dataset += f", {1 if dataset.test_mode else parts - 1} of {parts} parts"
    split.backend_args = image_backend(whole)
    for part in getattr(whole, "datasets", [whole]):  # those of a ConcatDataset
        for reason, number in getattr(part, "dropped", {}).items():
            split.dropped[reason] = split.dropped.get(reason, 0) + number
    split.published = getattr(whole, "published", None)
    add_records(split, records)
    split.add("annotation", faults)
    return split


def add_records(split: Split, records: Sequence[dict[str, Any]]) -> None:
    """Add a dataset's records to a split, with their problems."""
    num_classes = sys.maxsize if split.classes is None else len(split.classes)
    with collect_faults() as faults:
        for record in records:
            path, labels = record["img_path"], record.get("gt_label")
            labels = labels.tolist() if isinstance(labels, np.ndarray) else labels
            split.labels.append(check_label_set(labels, num_classes, path, split.dataset))
            split.images.append(path)
            example, box = os.path.normpath(path) if is_local(path) else path, record.get("box")
            split.examples.append(example if box is None else f"{example} {box}")
    split.add("labels", faults)
    repeated = repeated_items(split.examples)
    split.add("repeated image", [f"{example} occurs more than once" for example in repeated])


def drop_repeated_faults(splits: Sequence[Split]) -> None:
    """Keep each fault of an annotation file only at the first split that reads the file."""
    known: set[str] = set()
    for split in splits:
        for kind in ("dataset", "annotation"):
            faults = split.problems.pop(kind, [])
            split.add(kind, [fault for fault in faults if fault not in known])
            known.update(faults)


def compare_splits(splits: Sequence[Split]) -> None:
    """Add shared images and different class names to the later split of each pair."""
    for first, second in combinations(splits, 2):
        if not first.images or not second.images:
            continue
        # A dataset is divided by examples: several of one image (persons) may be in both parts.
        first_items, second_items = (
            split.examples if first.is_part and second.is_part else split.images
            for split in (first, second)
        )
        in_first = {os.path.abspath(path) for path in first_items}
        shared = [path for path in second_items if os.path.abspath(path) in in_first]
        second.add("image in two splits", [f"{path} is in {first.name} too" for path in shared])
        try:
            compare_names(first.classes, second.classes, f"split {second.name}")
        except ValueError as error:
            second.add("classes", [str(error)])


def compare_published(split: Split) -> str | None:
    """Compare a split with the published counts and add the differences to its problems.

    A split with fewer than nine tenths of the published images is a part of it, which is no
    problem.

    Returns:
        The result in words, or None where no counts are published. Examples that the dataset left
        out count as found.
    """
    published = split.published
    if published is None:
        return None
    dropped = sum(split.dropped.values())
    found = len(split.images) + dropped
    if split.is_part or found < FULL_SHARE * published.images:
        return f"a part of {published.name}, which has {published.images:,} images"
    tolerance = published.images // 100 if published.approximate else 0
    sizes = [len(labels) for labels in split.labels]
    differences = [
        f"{published.name} has {expected:,} {what}, found {number:,}"
        for what, expected, number, allowed in (
            ("images", published.images, found, tolerance),
            ("labels", published.labels, sum(sizes), 0),
            ("labels of an image at most", published.most_labels, max(sizes, default=0), 0),
        )
        if expected is not None and abs(number - expected) > allowed
    ]
    split.add("published counts", differences)
    result = "differs" if differences else "the published counts are met"
    return f"{published.name}: {result}" + (f", counting {dropped:,} dropped" if dropped else "")


def compare_steps(split: Split, cfg: Config) -> None:
    """Check that a training split's largest label set fits into the head's decoding steps."""
    head = (cfg.get("model") or {}).get("head") or {}
    max_steps = head.get("max_steps")
    if max_steps is None or not split.labels:
        return
    if problem := steps_problem(split.labels, split.images, max_steps):
        split.add("max_steps", [problem])


def check_has_labels(split: Split) -> None:
    """Add a problem to a training split without any label."""
    if split.images and split.classes is not None:
        counts = count_labels(split.labels, len(split.classes))
        if problem := labelless_problem(counts, f"split {split.name}"):
            split.add("labels", [*split.problems.get("labels", []), problem])


def file_problem(path: str, backend_args: dict | None = None) -> str | None:
    """Say why an image file cannot be opened or is empty; None if nothing is wrong.

    A remote file is read in full: not every storage has a cheaper check.
    """
    try:
        if is_local(path, backend_args):
            with open(path, "rb") as file:
                content = file.read(1)
        else:
            content = fileio.get(path, backend_args=backend_args)
    except FileNotFoundError:
        return f"image {path} does not exist; {LoadImage.missing_remedy}"
    except READ_ERRORS as error:
        return f"image {path} cannot be opened: {reason_of(error)}"
    return None if content else f"image {path} is empty"


def image_problem(path: str, backend_args: dict | None = None) -> str | None:
    """Say why an image cannot be opened or decoded; None if nothing is wrong."""
    try:
        LoadImage(backend_args=backend_args).transform({"img_path": path})
    except (OSError, ValueError) as error:
        return error_line(error)
    return None


def file_problems(
    backend_of_path: Mapping[str, dict | None], decode: bool, workers: int
) -> Iterator[str | None]:
    """Open or decode image files; yield what is wrong with each, None if nothing is.

    Args:
        backend_of_path: the `backend_args` of each file's path.
        decode: whether the images are decoded instead of only opened.
        workers: number of threads.
    """
    with ThreadPoolExecutor(workers) as pool:
        check = image_problem if decode else file_problem
        yield from pool.map(check, backend_of_path.keys(), backend_of_path.values())
