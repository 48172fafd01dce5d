"""Evaluate how the methods of a comparison complete label sets: tools/complete.py."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmorderless.comparison.evaluation.completion import Settings
from mmorderless.comparison.plan import Run, expand, read_finished_results
from mmorderless.comparison.report.completion import write_completion
from mmorderless.comparison.runs import complete_runs
from mmorderless.runs.processes import exclusive


def completion_parser() -> argparse.ArgumentParser:
    """Return the parser of tools/complete.py."""
    parser = argparse.ArgumentParser(
        description="Evaluate how the finished runs of a comparison (tools/compare.py) complete "
        "label sets: O-F1 and mAP of the labels that are not given, and mAP when the states of a "
        "share of all classes are known, as C-Tran is evaluated. Writes report/completion.json, "
        ".md and .png into the folder. The same command resumes after an interruption. A run takes "
        "as long as 11 predictions of the test set by its head and one by its backbone."
    )
    defaults = Settings()
    parser.add_argument("--work-dir", required=True, metavar="DIR", help="folder of the comparison")
    parser.add_argument(
        "--methods", nargs="+", metavar="METHOD", help="default: all with a finished run"
    )
    parser.add_argument(
        "--min-labels",
        type=int,
        default=defaults.min_labels,
        metavar="N",
        help="labels are given of test images with at least so many (default: %(default)s)",
    )
    parser.add_argument(
        "--given",
        type=int,
        nargs="+",
        default=list(defaults.given),
        metavar="K",
        help="numbers of labels given (default: 0 1 2 3)",
    )
    parser.add_argument(
        "--shares",
        type=int,
        nargs="+",
        default=list(defaults.shares),
        metavar="PERCENT",
        help="shares of the classes whose state is known (default: 0 25 50 75)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=defaults.seed,
        help="seed of the draws of known labels, which are the same for all methods",
    )
    parser.add_argument(
        "--default-point",
        action="store_true",
        help="label sets of the default operating point, instead of the one that is best in O-F1 "
        "on the held-out images without known labels",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="number of parallel runs")
    return parser


def finished_runs(folder: Path, methods: Sequence[str] | None) -> list[Run]:
    """Return the finished runs of a comparison, or of some of its methods.

    Raises:
        FileNotFoundError: the folder holds no comparison.
        ValueError: there is no finished run, or a method has none.
    """
    finished = [(result["method"], result["seed"]) for result in read_finished_results(folder)]
    found = list(dict.fromkeys(method for method, _ in finished))
    chosen = found if methods is None else methods
    missing = [method for method in chosen if method not in found]
    if missing or not chosen:
        raise ValueError(
            f"{folder} holds no finished run of {', '.join(missing) or 'any method'}; finished: "
            f"{', '.join(found) or 'none'}; run tools/compare.py to its end"
        )
    return [
        run
        for method, seed in finished
        if method in chosen
        for run in expand(folder, [method], [seed])
    ]


def complete(argv: Sequence[str] | None = None) -> int:
    """Evaluate completion as tools/complete.py does; the exit code is 1 when a run failed."""
    args = completion_parser().parse_args(argv)
    folder = Path(args.work_dir)
    settings = Settings(
        args.min_labels,
        sorted({*args.given}),
        sorted({*args.shares}),
        args.seed,
        not args.default_point,
    )
    if args.jobs < 1:
        raise ValueError(f"--jobs must be at least 1, got {args.jobs}")
    runs = finished_runs(folder, args.methods)
    with exclusive(folder) as lock:
        failed = complete_runs(runs, settings, args.jobs, lock)
        try:
            for file in write_completion(folder, runs, settings):
                print(file, flush=True)
        finally:
            if failed:
                names = ", ".join(job.name for job in failed)
                print(
                    f"error: failed: {names}; the same command resumes from there", file=sys.stderr
                )
    return 1 if failed else 0
