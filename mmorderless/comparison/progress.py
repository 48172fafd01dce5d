"""Progress of a comparison's jobs."""

import sys
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mmorderless.runs.processes import Job
from mmorderless.runs.records import read_json

TAIL_LINES = 15


class JobProgress:
    """Print a line for each job that ends; on a terminal, also show a bar and the running jobs.

    Args:
        name: plural noun for the jobs, such as "runs".
        total: number of jobs.
        done: number of jobs that were finished before.
    """

    def __init__(self, name: str, total: int, done: int) -> None:
        self.name = name
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=Console(file=sys.stdout),
            transient=True,
            disable=not sys.stdout.isatty(),
            speed_estimate_period=float("inf"),
        )
        self._all = self._bar.add_task(name, total=total, completed=done)
        self._bar.advance(self._all, 0)  # the remaining time is estimated from here
        self._running: dict[str, TaskID] = {}

    def __enter__(self) -> "JobProgress":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def start(self, job: Job) -> None:
        """Show a running job."""
        self._running[job.name] = self._bar.add_task(job.name, total=None)

    def end(self, job: Job, code: int) -> None:
        """Print how a job ended, and the end of the log of a failed one."""
        tasks = {task.id: task for task in self._bar.tasks}
        running, jobs = tasks[self._running.pop(job.name)], tasks[self._all]
        self._bar.remove_task(running.id)
        self._bar.advance(jobs.id)
        if code:
            log_end = "\n".join(f"  | {line}" for line in tail(job.log, TAIL_LINES))
            ended = f"{job.name} FAILED (exit code {code}); the end of {job.log}:\n{log_end}\n"
        else:
            ended = f"{job.name}: {summary(job)}{as_clock(running.elapsed)}; "
        status = f"{jobs.completed:g} of {jobs.total:g} {self.name}"
        left = as_clock(jobs.time_remaining)
        # A single write, because several threads print.
        print(f"{ended}{status}, {left} left\n", end="", flush=True)


def as_clock(seconds: float | None) -> str:
    """Format seconds as H:MM:SS."""
    return str(timedelta(seconds=round(seconds or 0)))


def summary(job: Job) -> str:
    """Return the most important scores of a job's result; empty without a result."""
    result = read_json(job.steps[-1].done)
    default = (result or {}).get("default")
    if default is None:
        return ""
    return f"C-F1 {default['CF1']:.2f}, O-F1 {default['OF1']:.2f} in "


def tail(file: Path, lines: int) -> list[str]:
    """Return the last lines of a log that are not blank; of a progress bar, its final state."""
    text = file.read_bytes()[-100_000:].decode(errors="replace")
    shown = [line.rstrip().rsplit("\r", 1)[-1] for line in text.split("\n")]
    return [line for line in shown if line][-lines:]
