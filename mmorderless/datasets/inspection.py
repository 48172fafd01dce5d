"""Looks at the datasets of a config: what is in them, and everything that is wrong with them."""

import copy
import os
import sys
import textwrap
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict
from mmpretrain.datasets import KFoldDataset
from mmpretrain.registry import DATASETS

from mmorderless.datasets.annotations import Published, check_labels
from mmorderless.datasets.class_names import compare_names
from mmorderless.datasets.faults import collect_faults, repeated_items
from mmorderless.datasets.loading import LoadImage
from mmorderless.datasets.partition import nested_datasets
from mmorderless.errors import error_line, is_user_error
from mmorderless.labels.label_lists import flatten_labels
from mmorderless.runs.progress import progress_bar

SPLITS = ("train", "val", "test")
REPEATING_WRAPPERS = ("RepeatDataset", "ClassBalancedDataset")
WHOLE_SHARE = 0.9
WIDTH = 100
LISTED = 10

Progress = Callable[[int], None]


@dataclass
class Split:
    """What was found in one split.

    Attributes:
        name: its name, or those of the splits that are configured alike.
        dataset: the dataset's type.
        classes: class names, None where the dataset has none.
        images: path of each example's image.
        examples: what tells examples apart, in their order: the path, and the box where there is
            one.
        labels: label set of each example; wrong labels are left out.
        dropped: how many examples the dataset left out, by reason.
        published: what the owners say of the split.
        part: whether it is one of the parts of a dataset that was divided (`val_split`).
        problems: what is wrong, by kind.
    """

    name: str
    dataset: str
    classes: Sequence[str] | None = None
    images: list[str] = field(default_factory=list)
    examples: list[str] = field(default_factory=list)
    labels: list[list[int]] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)
    published: Published | None = None
    part: bool = False
    problems: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, problems: Sequence[str]) -> None:
        """Add problems of one kind, each once."""
        if problems:
            self.problems[kind] = list(dict.fromkeys(problems))


def split_configs(cfg: Config) -> dict[str, ConfigDict]:
    """Return the dataset config of each split; splits that are configured alike become one.

    Args:
        cfg: a config with dataloaders.

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
        alike = next((name for name, other in configs.items() if other == dataset), None)
        if alike is not None:
            configs[f"{alike} and {split}"] = configs.pop(alike)
        else:
            configs[split] = dataset
    if not configs:
        raise ValueError(f"{cfg.filename} has no train_, val_ or test_dataloader to check")
    return configs


def read_split(name: str, config: ConfigDict) -> Split:
    """Load a split's dataset and gather what is wrong with its annotation.

    Args:
        name: of the split.
        config: of its dataset.
    """
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
    split.part = isinstance(dataset, KFoldDataset)
    if split.part:
        whole, parts = dataset.dataset, dataset.num_splits
        split.dataset += f", {1 if dataset.test_mode else parts - 1} of {parts} parts"
    split.dropped = getattr(whole, "dropped", {})
    split.published = getattr(whole, "published", None)
    fill(split, records)
    split.add("annotation", faults)
    return split


def fill(split: Split, records: Sequence[dict[str, Any]]) -> None:
    """Take the images and labels of a split's records, and note what is wrong with them.

    Args:
        split: what to fill; it has its classes.
        records: per example `img_path`, `gt_label`, and `box` where there is one.
    """
    num_classes = sys.maxsize if split.classes is None else len(split.classes)
    with collect_faults() as faults:
        for record in records:
            path, labels = record["img_path"], record.get("gt_label")
            labels = labels.tolist() if isinstance(labels, np.ndarray) else labels
            split.labels.append(check_labels(labels, num_classes, path, split.dataset))
            split.images.append(path)
            box = record.get("box")
            split.examples.append(path if box is None else f"{path} {tuple(box)}")
    split.add("labels", faults)
    repeated = repeated_items(split.examples)
    split.add("repeated image", [f"{example} occurs more than once" for example in repeated])


def drop_repeated_faults(splits: Sequence[Split]) -> None:
    """Keep each fault of an annotation file at the first split only that is read from this file."""
    known: set[str] = set()
    for split in splits:
        for kind in ("dataset", "annotation"):
            faults = split.problems.pop(kind, [])
            split.add(kind, [fault for fault in faults if fault not in known])
            known.update(faults)


def compare_splits(splits: Sequence[Split]) -> None:
    """Note on the later split of each pair the images that both have, and other class names."""
    for first, second in combinations(splits, 2):
        if not first.images or not second.images:
            continue
        # A dataset is divided by examples: several of one image (persons) may be in both parts.
        of_first, of_second = (
            split.examples if first.part and second.part else split.images
            for split in (first, second)
        )
        taken = {os.path.abspath(path) for path in of_first}
        shared = [path for path in of_second if os.path.abspath(path) in taken]
        second.add("image in two splits", [f"{path} is in {first.name} too" for path in shared])
        try:
            compare_names(first.classes, second.classes, f"split {second.name}")
        except ValueError as error:
            second.add("classes", [str(error)])


def compare_published(split: Split) -> str | None:
    """Compare a split with what its owners say.

    Below nine tenths of the images, or divided, it counts as a part, which is no problem.

    Returns:
        How it compares, or None where nothing is known. Examples that the dataset left out count
        as found.
    """
    published = split.published
    if published is None:
        return None
    dropped = sum(split.dropped.values())
    found = len(split.images) + dropped
    if split.part or found < WHOLE_SHARE * published.images:
        return f"a part of {published.name}, which has {published.images:,} images"
    tolerance = published.images // 100 if published.about else 0
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
    """Note on a training split that its largest label set does not fit into the head's steps."""
    head = (cfg.get("model") or {}).get("head") or {}
    max_steps = head.get("max_steps")
    if max_steps is None or not split.labels:
        return
    most, image = max(zip(map(len, split.labels), split.images))
    if most >= max_steps:
        split.add(
            "max_steps",
            [
                f"{image} has {most} labels, which do not fit with END into max_steps={max_steps}; "
                f"set model.head.max_steps to {most + 1} or more"
            ],
        )


def file_problem(path: str) -> str | None:
    """Say why an image file cannot be opened or is empty; None where nothing is wrong."""
    try:
        with open(path, "rb") as file:
            return None if file.read(1) else f"image {path} is empty"
    except FileNotFoundError:
        return f"image {path} does not exist; {LoadImage.missing_remedy}"
    except OSError as error:
        return f"image {path} cannot be opened: {error.strerror}"


def image_problem(path: str) -> str | None:
    """Say why an image cannot be opened or decoded; None where nothing is wrong."""
    if problem := file_problem(path):
        return problem
    try:
        LoadImage().transform({"img_path": path})
    except (OSError, ValueError) as error:
        return error_line(error)
    return None


def check_files(splits: Sequence[Split], decode: bool, workers: int) -> None:
    """Open, or decode, every image of the splits once.

    Args:
        splits: what the problems are noted on.
        decode: whether the images are decoded (OpenCV does that outside of Python's lock).
        workers: number of threads.
    """
    paths = list(dict.fromkeys(path for split in splits for path in split.images))
    if not paths:
        return
    print("decoding images" if decode else "opening images", flush=True)
    step = max(1, len(paths) // 100)
    problems = {}
    with ThreadPoolExecutor(workers) as pool, progress_bar(len(paths)) as progress:
        found = pool.map(image_problem if decode else file_problem, paths)
        for done, (path, problem) in enumerate(zip(paths, found), start=1):
            if problem is not None:
                problems[path] = problem
            if done % step == 0 or done == len(paths):
                progress.update(done - progress.completed)
    for split in splits:
        split.add("image files", [problems[path] for path in split.images if path in problems])


def describe(split: Split, comparison: str | None) -> str:
    """Lay out what is in a split.

    Args:
        split: what was found.
        comparison: how it compares with the published counts.
    """
    sizes = np.array([len(labels) for labels in split.labels], dtype=np.int64)
    if not len(sizes):
        return f"{split.name}: {split.dataset}, no image could be read"
    num_files = len(set(split.images))
    boxes = f" in {num_files:,} files" if num_files != len(sizes) else ""
    lines = [
        f"{split.name}: {split.dataset}",
        f"  images: {len(sizes):,}{boxes}",
        f"  labels: {sizes.sum():,} ({sizes.mean():.2f} per image, at most {sizes.max()})",
    ]
    dropped = "dropped before it was divided" if split.part else "dropped"
    lines += [f"  {dropped}: {number:,} {reason}" for reason, number in split.dropped.items()]
    if comparison is not None:
        lines.append(f"  {comparison}")
    lines.append("  labels per image:")
    histogram = np.bincount(sizes)
    for size, number in enumerate(histogram):
        bar = "#" * round(50 * number / histogram.max())
        lines.append(f"    {size:3d} {number:9,d} {bar}".rstrip())
    if split.classes is not None:
        label, _ = flatten_labels(split.labels, len(split.classes), split.name)
        counts = np.bincount(label, minlength=len(split.classes))
        lines.append(f"  images per class ({len(counts)} classes):")
        lines += wrap_words("    ", [f"{name} {n:,}" for name, n in zip(split.classes, counts)])
        if absent := [name for name, n in zip(split.classes, counts) if n == 0]:
            lines += wrap_words("  classes without an image: ", absent)
    return "\n".join(lines)


def wrap_words(start: str, words: Sequence[str]) -> list[str]:
    """Return lines with words separated by commas; what a word holds stays on one line."""
    lines = textwrap.wrap(
        ", ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words),
        WIDTH,
        initial_indent=start,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def list_problems(splits: Sequence[Split], every: bool) -> str:
    """Lay out what is wrong, by split and kind.

    Args:
        splits: what was found.
        every: whether all problems are listed instead of the first of each kind.
    """
    lines = []
    for split in splits:
        for kind, problems in split.problems.items():
            lines.append(f"{split.name}, {kind}: {len(problems):,}")
            listed = problems if every else problems[:LISTED]
            lines += [f"  {problem}" for problem in listed]
            if len(problems) > len(listed):
                lines.append(f"  … and {len(problems) - len(listed):,} more (--all lists them)")
    total = sum(len(problems) for split in splits for problems in split.problems.values())
    return "\n".join([f"problems: {total:,}", *lines])
