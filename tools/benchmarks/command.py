"""The command line of tools/benchmark.py."""

import argparse
import json
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import torch

from mmorderless.models.weights import only_warnings
from mmorderless.runs.files import write_text
from mmorderless.runs.machine import describe_machine
from mmorderless.runs.options import add_config_options

from .report import table
from .settings import DTYPES, Settings

PARTS = ("alignment", "decoder", "train_step", "predict", "metrics", "data", "growth", "complexity")
"""Modules with a function `run(settings)`, in the order in which they are measured."""
SCHEMA_VERSION = 1


def main(argv: Sequence[str] | None = None) -> None:
    """Measure the parts, print a table of each, and write all samples as JSON.

    Args:
        argv: arguments of the command line.

    Raises:
        ValueError: a part is unknown, a number is not positive, or the device does not exist.
    """
    args = build_parser().parse_args(argv)
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
    settings = Settings(
        device, args.dtype, args.repeats, args.batch, args.quick, args.config, args.cfg_options
    )
    machine = describe_machine(device, args.dtype)
    shown = {**machine, **machine["versions"]}
    print(", ".join(f"{key} {value}" for key, value in shown.items() if key != "versions"))
    if args.quick:
        print("quick: tiny sizes, to which the targets do not apply")
    records: dict[str, list] = {}
    for part in args.parts or PARTS:
        with only_warnings():  # the metric writes to mmengine's log each time it is computed
            rows = import_module(f"{__package__}.{part}").run(settings)
        print(f"\n{part}\n\n{table(rows)}", flush=True)
        records[part] = [row.record() for row in rows]
        if args.out:  # after each part, so that an interruption loses nothing
            report = {"version": SCHEMA_VERSION, "machine": machine, "parts": records}
            text = json.dumps(report, ensure_ascii=False, allow_nan=False, indent=1)
            write_text(Path(args.out), text + "\n")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Measure speed and memory next to plain baselines."
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"what to measure: {', '.join(PARTS)}; or all"
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ...")
    parser.add_argument(
        "--dtype", choices=DTYPES, default="fp32", help="type that models compute in"
    )
    parser.add_argument("--threads", type=int, help="threads of PyTorch")
    parser.add_argument("--repeats", type=int, default=7, help="samples of each quantity")
    parser.add_argument("--batch", type=int, help="images of a batch")
    parser.add_argument("--out", metavar="FILE.json", help="write all samples to this file")
    parser.add_argument("--config", metavar="CONFIG", help="config of the part complexity")
    add_config_options(parser)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to check that it runs")
    return parser
