"""Progress of a comparison's jobs."""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from mmorderless.runs.processes import Job, Running
from mmorderless.runs.records import read_json

TAIL_LINES = 15
SECONDS_BETWEEN_STATUS = 1.0


class Progress:
    """A line for each job that ended, with the time left; on a terminal also a line that changes.

    Args:
        what: what the jobs are called, `runs`.
        total: how many jobs there are.
        done: how many of them ended before.
        known: seconds of jobs by kind, from before; see `seconds_left`.
        at_once: how many run beside each other.
    """

    def __init__(
        self, what: str, total: int, done: int, known: Mapping[str, Sequence[float]], at_once: int
    ) -> None:
        self.what = what
        self.total = total
        self.done = done
        self.known = {kind: list(seconds) for kind, seconds in known.items()}
        self.at_once = at_once
        self._news: list[str] = []
        self._shown = 0.0

    def ended(self, job: Job, code: int, seconds: float) -> None:
        """Say how a job ended; of one that failed, the end of its log."""
        self.done += 1
        if code:
            end = "\n".join(f"  | {line}" for line in tail(job.log, TAIL_LINES))
            news = f"{job.name} FAILED (exit code {code}); the end of {job.log}:\n{end}\n"
        else:
            self.known.setdefault(job.kind, []).append(seconds)
            news = f"{job.name}: {summary(job)}{as_clock(seconds)}; "
        self._news.append(news)

    def progress(self, running: Sequence[Running], waiting: Iterable[Job]) -> None:
        """Write the news, and the status line."""
        if not self._news and time.monotonic() < self._shown + SECONDS_BETWEEN_STATUS:
            return
        left = seconds_left(
            self.known,
            [(work.job.kind, work.seconds) for work in running],
            [job.kind for job in waiting],
            self.at_once,
        )
        status = f"{self.done} of {self.total} {self.what}, " + (
            "time left not known yet" if left is None else f"{as_clock(left)} left"
        )
        on_terminal = sys.stdout.isatty()
        clear = "\r\033[K" if on_terminal else ""
        for news in self._news:
            print(f"{clear}{news}{status}", flush=True)
        self._news.clear()
        self._shown = time.monotonic()
        if on_terminal and running:
            at_work = ", ".join(work.job.name for work in running)
            print(f"{clear}{status}; {at_work}", end="", flush=True)


def summary(job: Job) -> str:
    """Say what a job's result holds of the most important scores; nothing without a result."""
    result = read_json(job.steps[-1].done)
    default = (result or {}).get("default")
    if default is None:
        return ""
    return f"C-F1 {default['CF1']:.2f}, O-F1 {default['OF1']:.2f} in "


def tail(file: Path, lines: int) -> list[str]:
    """Return the last lines of a log that are not blank; of a progress bar, what it ended with."""
    text = file.read_bytes()[-100_000:].decode(errors="replace")
    shown = [line.rstrip().rsplit("\r", 1)[-1] for line in text.split("\n")]
    return [line for line in shown if line][-lines:]


def seconds_left(
    known: Mapping[str, Sequence[float]],
    running: Sequence[tuple[str, float]],
    waiting: Sequence[str],
    at_once: int,
) -> float | None:
    """Estimate how long jobs will take.

    Args:
        known: kind → seconds of jobs that have ended. A kind without any is taken for the mean of
            the others.
        running: kind of each job at work, and seconds since its start.
        waiting: kinds of the jobs that have not begun.
        at_once: how many run beside each other.

    Returns:
        Seconds; None when nothing has ended yet.
    """
    means = {kind: sum(seconds) / len(seconds) for kind, seconds in known.items() if seconds}
    if not means:
        return None
    typical = sum(means.values()) / len(means)
    rest = [max(means.get(kind, typical) - seconds, 0.0) for kind, seconds in running]
    rest += [means.get(kind, typical) for kind in waiting]
    # No job is shared between two processes: it takes at least as long as the longest.
    return max(sum(rest) / at_once, max(rest, default=0.0))


def as_clock(seconds: float) -> str:
    """Write seconds as HH:MM:SS."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}"
