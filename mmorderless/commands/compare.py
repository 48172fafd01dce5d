"""Compare methods on one dataset: tools/compare.py."""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmorderless.comparison.evaluation.prior import evaluate_prior
from mmorderless.comparison.plan import (
    CACHED,
    METHODS,
    NEED_IMAGES,
    PRIOR,
    RECORD,
    expand,
    merge_records,
    read_comparison_record,
)
from mmorderless.comparison.report.intervals import write_intervals
from mmorderless.comparison.report.markdown import write_tables
from mmorderless.comparison.report.page import write_page
from mmorderless.comparison.report.results import load_comparison
from mmorderless.comparison.report.runs_csv import write_runs
from mmorderless.comparison.runs import (
    check_configs,
    comparable_settings,
    method_config,
    time_methods,
    train_and_evaluate,
)
from mmorderless.datasets.partition import number_of_parts
from mmorderless.runs.config import read_config
from mmorderless.runs.methods import find_method
from mmorderless.runs.options import add_config_options
from mmorderless.runs.processes import exclusive
from mmorderless.runs.records import differences, read_json, write_json
from mmorderless.runs.shipped import config_file


def comparison_parser() -> argparse.ArgumentParser:
    """Return the parser of tools/compare.py."""
    parser = argparse.ArgumentParser(
        description="Train and evaluate methods on one dataset with several seeds, and write a "
        "report. The same command resumes after an interruption and may add methods or seeds."
    )
    parser.add_argument("config", help="config of PLA on the dataset; the methods change its model")
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="METHOD",
        help="names of configs/_base_/methods; default: all, on cached features without those that "
        "need images",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED")
    parser.add_argument(
        "--work-dir",
        metavar="DIR",
        help="folder of the comparison; default: work_dirs/<name of the config>_comparison",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        help="number of training epochs instead of the config's; a method's own "
        "train_cfg.max_epochs has precedence",
    )
    parser.add_argument(
        "--val-split",
        type=float,
        default=0.1,
        metavar="SHARE",
        help="share 1/k of the training images (or boxes) that is held out to choose operating "
        "points",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="number of parallel runs")
    parser.add_argument(
        "--report-only", action="store_true", help="only write the report of the finished runs"
    )
    parser.add_argument(
        "--intervals",
        metavar="METHOD",
        help="also write the difference of every method to this one, with bootstrap intervals over "
        "the test images (seconds a run; minutes for 40,000 images)",
    )
    add_config_options(parser)
    parser.add_argument(
        "--method-options",
        nargs="+",
        action="append",
        default=[],
        metavar=("METHOD", "KEY=VALUE"),
        help="config settings of one method; may be repeated",
    )
    return parser


def options_by_method(
    given: Sequence[Sequence[str]], methods: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """Return the settings of each `--method-options METHOD KEY=VALUE ...` by method.

    Raises:
        ValueError: the method is not compared, or there is no setting.
    """
    options: dict[str, dict[str, Any]] = {}
    for method, *words in given:
        if method not in methods or not words:
            raise ValueError(
                "--method-options expects one of --methods and KEY=VALUE, got "
                f"{shlex.join([method, *words])}; the methods are {', '.join(methods)}"
            )
        reader = argparse.ArgumentParser()
        add_config_options(reader)
        read = reader.parse_args(["--cfg-options", *words]).cfg_options
        options[method] = {**options.get(method, {}), **read}
    return options


def choose_methods(given: Sequence[str] | None, cfg: Config) -> list[str]:
    """Return the methods to compare: those given, or all that can be trained on a config's inputs.

    Raises:
        ValueError: a given method needs images, and the config reads cached features.
    """
    methods = given or METHODS
    unfit = [method for method in methods if method in NEED_IMAGES]
    backbone = (cfg.get("model") or {}).get("backbone") or {}
    if not unfit or backbone.get("type") != CACHED:
        return list(methods)
    if given:
        raise ValueError(
            f"--methods {' '.join(unfit)}: attention consistency needs images, and {cfg.filename} "
            "reads cached features; leave it out, or use a config that reads images"
        )
    print(f"left out, because cached features are not images: {', '.join(unfit)}", flush=True)
    return [method for method in methods if method not in NEED_IMAGES]


def check_options(args: argparse.Namespace) -> None:
    """Check the options of the command line.

    Raises:
        ValueError: a number is out of range, a method is not given by its name, or a setting is
            one that the comparison makes.
    """
    for name in ("jobs", "epochs"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} must be at least 1, got {value}")
    if min(args.seeds) < 0:
        raise ValueError(f"--seeds must not be negative, got {min(args.seeds)}")
    number_of_parts(args.val_split)
    for method in args.methods:
        if Path(method).name != method or method.endswith(".py"):
            raise ValueError(
                f"--methods takes names, got {method}; put your own methods into _base_/methods "
                "next to the config"
            )
        find_method(method, config_file(args.config))
    by_method = options_by_method(args.method_options, args.methods)
    given = {*(args.cfg_options or {}), *(key for keys in by_method.values() for key in keys)}
    for key in ("method", "randomness.seed", "val_split"):
        if key in given:
            raise ValueError(
                f"a comparison sets the option {key} itself; use --methods, --seeds or --val-split"
            )


def run_comparison(args: argparse.Namespace, folder: Path, lock: IO[str]) -> list[str]:
    """Carry out the unfinished runs of a comparison, and name the jobs that failed."""
    common = args.cfg_options or {}
    own = options_by_method(args.method_options, args.methods)
    # All configs are built before the first run, so that errors are reported at the start.
    configs = {
        method: method_config(
            args.config, method, args.epochs, args.val_split, {**common, **own.get(method, {})}
        )
        for method in args.methods
    }
    base = method_config(args.config, "pla", args.epochs, args.val_split, common)
    now = {
        "dataset": args.config,
        "methods": list(dict.fromkeys(args.methods)),
        "seeds": sorted({*args.seeds}),
        "options": {
            "epochs": args.epochs,
            "val_split": args.val_split,
            "cfg_options": common,
            "method_options": json.loads(json.dumps(own)),  # tuples are lists in the record
        },
        "settings": comparable_settings(base),
    }
    before = read_comparison_record(folder)
    changes = list(differences(before["settings"], now["settings"])) if before else []
    record = merge_records(before, now, changes, folder)
    check_configs(folder, configs)
    init_default_scope(base.get("default_scope", "mmpretrain"))
    if read_json(folder / PRIOR) is None:
        write_json(folder / PRIOR, evaluate_prior(base))
    write_json(folder / RECORD, record)
    runs = expand(folder, args.methods, args.seeds)
    failed = train_and_evaluate(runs, configs, args.jobs, lock)
    failed += time_methods(expand(folder, record["methods"], record["seeds"]), lock)
    return [job.name for job in failed]


def compare(argv: Sequence[str] | None = None) -> int:
    """Compare methods as tools/compare.py does; the exit code is 1 when a run failed."""
    args = comparison_parser().parse_args(argv)
    folder = Path(args.work_dir or f"work_dirs/{Path(args.config).stem}_comparison")
    failed = []
    if not args.report_only:
        args.methods = choose_methods(args.methods, read_config(args.config))
        check_options(args)
        with exclusive(folder) as lock:
            failed = run_comparison(args, folder, lock)
    try:
        comparison = load_comparison(folder)
        print(f"tables: {write_tables(comparison)}\nruns: {write_runs(comparison)}", flush=True)
        print(f"report: {write_page(comparison)}", flush=True)
        if args.intervals is not None:
            print(f"intervals: {write_intervals(comparison, args.intervals)}", flush=True)
    finally:  # without a finished run there is no report
        if failed:
            print(
                f"error: failed: {', '.join(failed)}; the same command resumes from there",
                file=sys.stderr,
                flush=True,
            )
    return 1 if failed else 0
