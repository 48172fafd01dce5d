"""Command line of tools/check_dataset.py."""

import argparse
from collections.abc import Sequence

from mmengine.registry import init_default_scope

from mmorderless.datasets.inspection import (
    check_files,
    compare_published,
    compare_splits,
    compare_steps,
    describe,
    drop_repeated_faults,
    list_problems,
    read_split,
    split_configs,
)
from mmorderless.runs.config import read_config
from mmorderless.runs.options import add_config_options


def main(argv: Sequence[str] | None = None) -> int:
    """Check a config's datasets: the whole of tools/check_dataset.py.

    Args:
        argv: the command line's arguments.

    Returns:
        1 where something is wrong, else 0.
    """
    args = parser().parse_args(argv)
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
    if not args.labels_only:
        check_files(splits, args.images, args.workers)
    for split in splits:
        print(f"\n{describe(split, compare_published(split))}")
    print(f"\n{list_problems(splits, args.all)}")
    return int(any(split.problems for split in splits))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description="Check the datasets of a config.")
    parser.add_argument("config", help="config file")
    files = parser.add_mutually_exclusive_group()
    files.add_argument(
        "--images", action="store_true", help="decode all images instead of only opening the files"
    )
    files.add_argument("--labels-only", action="store_true", help="do not look at the image files")
    parser.add_argument("--workers", type=int, default=4, help="threads that read images")
    parser.add_argument("--all", action="store_true", help="list every problem, however many")
    add_config_options(parser)
    return parser
