"""Command line of tools/check_dataset.py."""

import argparse
import textwrap
from collections.abc import Sequence

import numpy as np
from mmengine.registry import init_default_scope
from rich.progress import Progress

from mmorderless.datasets.inspection import (
    Split,
    check_has_labels,
    compare_published,
    compare_splits,
    compare_steps,
    drop_repeated_faults,
    file_problems,
    read_split,
    split_configs,
)
from mmorderless.datasets.label_checks import classes_without_image
from mmorderless.labels.fixed_orders import count_labels
from mmorderless.labels.label_lists import share_of_known
from mmorderless.runs.config import read_config
from mmorderless.runs.options import add_config_options

WIDTH = 100
LISTED = 10
"""Problems of a kind that are printed without --all."""


def main(argv: Sequence[str] | None = None) -> int:
    """Check a config's datasets, and return 1 where something is wrong, else 0."""
    args = build_parser().parse_args(argv)
    if args.workers < 1:
        raise ValueError(f"--workers must be at least 1, got {args.workers}")
    cfg = read_config(args.config, args.cfg_options)
    init_default_scope(cfg.get("default_scope", "mmpretrain"))
    splits = []
    for name, config in split_configs(cfg).items():
        print(f"reading {name}", flush=True)
        splits.append(read_split(name, config))
    drop_repeated_faults(splits)
    compare_splits(splits)
    for split in splits:
        if split.name.startswith("train"):
            compare_steps(split, cfg)
            check_has_labels(split)
    if not args.labels_only:
        check_files(splits, args.images, args.workers)
    for split in splits:
        print(f"\n{describe(split, compare_published(split), splits[0])}")
    print(f"\n{list_problems(splits, args.all)}")
    return int(any(split.problems for split in splits))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Check the datasets of a config.")
    parser.add_argument("config", help="config file")
    files = parser.add_mutually_exclusive_group()
    files.add_argument(
        "--images", action="store_true", help="decode all images instead of only opening the files"
    )
    files.add_argument("--labels-only", action="store_true", help="do not open the image files")
    parser.add_argument("--workers", type=int, default=4, help="threads that read images")
    parser.add_argument("--all", action="store_true", help="list every problem, however many")
    add_config_options(parser)
    return parser


def check_files(splits: Sequence[Split], decode: bool, workers: int) -> None:
    """Open or decode every image of the splits once, with a progress bar."""
    paths = {path: split.backend_args for split in splits for path in split.images}
    if not paths:
        return
    found = zip(paths, file_problems(paths, decode, workers))
    what = "decoding images" if decode else "opening images"
    with Progress() as progress:
        shown = progress.track(found, total=len(paths), description=what)
        problems = {path: problem for path, problem in shown if problem is not None}
    for split in splits:
        split.add("image files", [problems[path] for path in split.images if path in problems])


def describe(split: Split, comparison: str | None, first: Split) -> str:
    """Describe a split; `comparison` is from `compare_published`, `first` has the known sets."""
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
    shared = ""
    if split is not first:
        known = share_of_known(split.labels, first.labels)
        shared = f"; {known:.1f} % of the images have one of {first.name}'s"
    lines.append(f"  distinct label sets: {len(set(map(frozenset, split.labels))):,}{shared}")
    dropped = "dropped before it was divided" if split.is_part else "dropped"
    lines += [f"  {dropped}: {number:,} {reason}" for reason, number in split.dropped.items()]
    if comparison is not None:
        lines.append(f"  {comparison}")
    lines.append("  labels per image:")
    histogram = np.bincount(sizes)
    for size, number in enumerate(histogram):
        bar = "#" * round(50 * number / histogram.max())
        lines.append(f"    {size:3d} {number:9,d} {bar}".rstrip())
    if split.classes is not None:
        counts = count_labels(split.labels, len(split.classes))
        lines.append(f"  images per class ({len(counts)} classes):")
        lines += wrap_words("    ", [f"{name} {n:,}" for name, n in zip(split.classes, counts)])
        if absent := classes_without_image(counts, split.classes):
            warning = "warning: " if split.name.startswith("train") else ""
            lines += wrap_words(f"  {warning}classes without an image: ", absent)
    return "\n".join(lines)


def wrap_words(start: str, words: Sequence[str]) -> list[str]:
    """Return lines of words separated by commas; a word with blanks stays on one line."""
    lines = textwrap.wrap(
        ", ".join(word.replace(" ", "\N{NO-BREAK SPACE}") for word in words),
        WIDTH,
        initial_indent=start,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def list_problems(splits: Sequence[Split], list_all: bool) -> str:
    """List what is wrong, by split and kind: all problems, or the first of each kind."""
    lines = []
    for split in splits:
        for kind, problems in split.problems.items():
            lines.append(f"{split.name}, {kind}: {len(problems):,}")
            listed = problems if list_all else problems[:LISTED]
            lines += [f"  {problem}" for problem in listed]
            if len(problems) > len(listed):
                lines.append(f"  … and {len(problems) - len(listed):,} more (--all lists them)")
    total = sum(len(problems) for split in splits for problems in split.problems.values())
    return "\n".join([f"problems: {total:,}", *lines])
