"""The command line of tools/benchmark.py."""

import argparse
import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

import torch
from mmengine.logging import MMLogger

from mmorderless.runs.machine import describe_machine

from .report import Report
from .settings import DTYPES, Settings

PARTS = ("alignment", "decoder", "train_step", "predict", "metrics", "data", "growth")
"""The modules that have `run(settings)`, in the order in which they are measured."""


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the parts, print a table of each, and write all samples as JSON.

    Args:
        argv: the command line's arguments.

    Raises:
        ValueError: a part is unknown, a number is not positive, or there is no such device.
    """
    args = parser().parse_args(argv)
    unknown = [part for part in args.parts if part not in PARTS]
    if unknown:
        raise ValueError(f"unknown part {unknown[0]!r}; choose from {', '.join(PARTS)}")
    for name in ("threads", "repeats", "batch"):
        number = getattr(args, name)
        if number is not None and number < 1:
            raise ValueError(f"--{name} must be at least 1, got {number}")
    if args.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"--device {args.device}: PyTorch finds no CUDA device; use --device cpu")
    if args.threads is not None:
        torch.set_num_threads(args.threads)
    device = torch.device(args.device)
    settings = Settings(device, args.dtype, args.repeats, args.batch, args.quick)
    report = Report(describe_machine(device, args.dtype))
    machine = {**report.machine, **report.machine["versions"]}
    print(", ".join(f"{key} {value}" for key, value in machine.items() if key != "versions"))
    if args.quick:
        print("quick: tiny sizes, for which the targets are not meant")
    for part in args.parts or PARTS:
        with warnings_only():
            report.parts[part] = import_module(f"{__package__}.{part}").run(settings)
        print(f"\n{part}\n\n{report.table(part)}", flush=True)
        if args.out:  # after each part, so that an interruption loses nothing
            out = Path(args.out)
            out.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps(report.record(), ensure_ascii=False, allow_nan=False, indent=1)
            out.write_text(text + "\n", encoding="utf-8")


@contextmanager
def warnings_only() -> Iterator[None]:
    """Keep mmengine's log from the table: the metric reports each time it is computed."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Measure speed and memory beside a plain reference."
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)}; or all"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32", help="what models compute in")
    parser.add_argument("--threads", type=int, help="threads of PyTorch")
    parser.add_argument("--repeats", type=int, default=7, help="samples of each quantity")
    parser.add_argument("--batch", type=int, help="images of a batch, in place of each part's own")
    parser.add_argument("--out", metavar="FILE.json", help="write all samples to this file")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    return parser
