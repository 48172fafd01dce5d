"""The command line of tools/check_gpu.py."""

import argparse
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from mmorderless.runs.files import write_text
from mmorderless.runs.machine import describe_machine
from mmorderless.runs.processes import exit_on_signals

from .workers import Conditions, Worker

BUDGET = 470
SCHEMA_VERSION = 1
STARTING = 20
"""Seconds set aside for the start of a check's process."""
CPU_FACTOR = 5
"""Limits and budget are so many times longer on a CPU."""
DIFFERENCES = "largest relative differences"


@dataclass(frozen=True)
class Check:
    """A check.

    Args:
        function: `module:function`; it takes `Conditions`, returns values by name, and raises an
            exception if the check fails.
        seconds: limit of its time on a GPU.
        status: what a check that ends well is called; INFO has nothing that could fail.
        gpu_only: why it cannot run on a CPU; empty if it can.
        together: whether it runs at the same time as the others that have this.
        quantity: what its values are, if their names do not say it.
    """

    function: str
    seconds: float
    status: str = "PASS"
    gpu_only: str = ""
    together: bool = False
    quantity: str = ""


def _check(function: str, seconds: float, **options: Any) -> Check:
    return Check(f"{__package__}.{function}", seconds, **options)


CHECKS: dict[str, Check] = {
    "alignment": _check("equality:alignment", 20),
    "gradients": _check("equality:gradients", 45, quantity=DIFFERENCES),
    "prediction": _check("equality:prediction", 20),
    "heads": _check("heads:heads", 30, quantity=DIFFERENCES),
    "loss_scaler": _check("heads:loss_scaler", 25, gpu_only="mmengine's AMP needs a GPU"),
    "graphed": _check(
        "equality:graphed", 45, gpu_only="CUDA graphs need a GPU", quantity=DIFFERENCES
    ),
    "launch": _check(
        "speed:launch",
        10,
        status="INFO",
        gpu_only="a CPU launches no kernels",
        quantity="µs per operation",
    ),
    "step_32": _check("speed:step_32", 50, status="INFO"),
    "step_128": _check("speed:step_128", 50, status="INFO"),
    "digits": _check("training:digits", 130, together=True),
    "swa_resume": _check("training:swa_resume", 130, together=True),
    "processes": _check("training:processes", 130, together=True),
    "compile": _check("training:compile_backbone", 130, together=True),
}
"""In the order in which they run."""


class Session:
    """Runs checks, prints a line for each, and keeps their results.

    Args:
        conditions: given to the checks.
        budget: seconds for all; a check whose limit does not fit is skipped, and a process must
            start in time for its check.
        out: file of the results; None writes none.
    """

    def __init__(self, conditions: Conditions, budget: float, out: str | None) -> None:
        self.conditions, self.budget, self.out = conditions, budget, out
        self.machine = describe_machine(torch.device(conditions.device), "fp32")
        del self.machine["dtype"]  # of which the checks use several
        self.results: list[dict[str, Any]] = []
        self._start = time.monotonic()
        self._lock = Lock()
        self._started: list[Worker] = []
        self._free: list[Worker] = []
        self._closed = False

    def run(self, name: str, check: Check) -> None:
        """Run a check in a process that no other check uses, or skip it."""
        limit = check.seconds * (CPU_FACTOR if self.conditions.quick else 1)
        left = self.budget - (time.monotonic() - self._start)
        if self.conditions.quick and check.gpu_only:
            self._keep(name, "SKIP", 0, check.gpu_only)
        elif limit + (0 if self._free else STARTING) > left:
            text = f"may take {limit:.0f} s, and {max(0, left):.0f} of {self.budget:.0f} s are left"
            self._keep(name, "SKIP", 0, text)
        else:
            module = check.function.partition(":")[0]
            worker = self._worker(module, left - limit)
            start = time.monotonic()
            answer = worker.run(check.function, self.conditions, limit)
            if worker.is_alive:
                self._free.append(worker)
            seconds = time.monotonic() - start
            status = "FAIL" if isinstance(answer, str) else check.status
            self._keep(name, status, seconds, answer, check.quantity)

    def close(self) -> None:
        """Kill all processes; what they still answer does not count."""
        self._closed = True
        for worker in self._started:
            worker.kill()

    def _worker(self, module: str, seconds: float) -> Worker:
        """Return a process that is free, or start one within some seconds."""
        with self._lock:
            if self._free:
                return self._free.pop()
        worker = Worker([module], seconds)
        self._started.append(worker)
        if self._closed:
            worker.kill()
        return worker

    def _keep(
        self, name: str, status: str, seconds: float, found: Mapping | str, quantity: str = ""
    ) -> None:
        text = found if isinstance(found, str) else _text(found, quantity)
        values = {} if isinstance(found, str) else dict(found)
        result = dict(name=name, status=status, seconds=round(seconds, 1), text=text, values=values)
        with self._lock:
            if self._closed:
                return
            print(f"{status} {name} {seconds:.1f} s: {text}", flush=True)
            self.results.append(result)
            if self.out:  # after each check, so that an interruption loses nothing
                report = dict(version=SCHEMA_VERSION, machine=self.machine, checks=self.results)
                write_text(Path(self.out), json.dumps(report, ensure_ascii=False, indent=1) + "\n")


def _text(values: Mapping[str, Any], quantity: str) -> str:
    shown = {k: f"{v:.3g}" if isinstance(v, float) else v for k, v in values.items()}
    text = ", ".join(f"{name} {value}" for name, value in shown.items())
    return f"{quantity}: {text}" if quantity else text


def main(argv: Sequence[str] | None = None) -> int:
    """Run the checks; return 1 if one failed.

    Args:
        argv: arguments of the command line.

    Raises:
        ValueError: a check is unknown, or the budget is not positive.
    """
    args = build_parser().parse_args(argv)
    unknown = [name for name in args.only or () if name not in CHECKS]
    if unknown:
        raise ValueError(f"unknown check {unknown[0]!r}; choose from {', '.join(CHECKS)}")
    on_gpu = torch.cuda.is_available()
    budget = BUDGET * (1 if on_gpu else CPU_FACTOR) if args.budget is None else args.budget
    if budget <= 0:
        raise ValueError(f"--budget must be positive, got {args.budget:g}")
    chosen = {name: CHECKS[name] for name in CHECKS if name in (args.only or CHECKS)}
    with tempfile.TemporaryDirectory() as folder, exit_on_signals():
        conditions = Conditions("cuda" if on_gpu else "cpu", Path(folder))
        session = Session(conditions, budget, args.out)
        shown = {**session.machine, **session.machine["versions"]}
        print(", ".join(f"{key} {value}" for key, value in shown.items() if key != "versions"))
        if not on_gpu:
            print("no GPU: tiny sizes, which only show that the checks run", flush=True)
        together = {name: check for name, check in chosen.items() if check.together}
        pool = ThreadPoolExecutor(max(1, len(together)) if on_gpu else 1)
        try:
            for name, check in chosen.items():
                if not check.together:
                    session.run(name, check)
            list(pool.map(session.run, together.keys(), together.values()))
        finally:
            session.close()
            pool.shutdown(cancel_futures=True)
    failed, skipped = (
        [result["name"] for result in session.results if result["status"] == status]
        for status in ("FAIL", "SKIP")
    )
    ending = f"; skipped: {', '.join(skipped)}" if skipped else ""
    print((f"failed: {', '.join(failed)}" if failed else "no check failed") + ending)
    return int(bool(failed))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description="Check that a GPU gives what the CPU gives, and how fast."
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"checks: {', '.join(CHECKS)}")
    parser.add_argument(
        "--budget",
        type=float,
        metavar="SECONDS",
        help=f"skip checks whose limit does not fit into this time (default {BUDGET} on a GPU)",
    )
    parser.add_argument("--out", metavar="FILE.json", help="write the results to this file")
    return parser
