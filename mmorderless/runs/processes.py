"""Run commands beside each other, note what fails, and estimate the time that is left."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, NoReturn, Protocol

LOCK = ".lock"

SECONDS_BETWEEN_LOOKS = 0.1
SECONDS_TO_END = 10.0


@dataclass(frozen=True)
class Step:
    """A command, and the file that says that it has ended well.

    Attributes:
        command: its words.
        done: the step is left out where this file exists; it is made when the command ends with
            exit code 0 without having written it.
    """

    command: Sequence[str]
    done: Path


@dataclass(frozen=True)
class Job:
    """Steps to take one after the other, until one fails.

    Attributes:
        name: what the job is called.
        kind: jobs of a kind take about as long as each other.
        steps: the steps.
        log: file that their output is appended to.
    """

    name: str
    kind: str
    steps: Sequence[Step]
    log: Path


@dataclass
class Running:
    """A job at work."""

    job: Job
    steps: deque[Step]
    start: float
    log: IO[bytes]
    process: subprocess.Popen | None = None
    step: Step | None = None

    @property
    def seconds(self) -> float:
        """How long it has been at work."""
        return time.monotonic() - self.start


class Display(Protocol):
    """What is told of the jobs."""

    def ended(self, job: Job, code: int, seconds: float) -> None:
        """Tell that a job has ended, with the exit code of its last command."""

    def progress(self, running: Sequence[Running], waiting: Sequence[Job]) -> None:
        """Tell what is at work, ten times a second."""


@contextmanager
def alone_in(folder: Path) -> Iterator[IO[str]]:
    """Keep a second comparison out of a folder while this one works there.

    Returns:
        The lock. A process that inherits it holds it too: it is free when the last one has ended.

    Raises:
        ValueError: another one works there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ValueError(
                f"another comparison, or what a killed one left at work, works in {folder}; wait "
                "for its end, or choose another --work-dir"
            ) from error
        yield lock


def run_jobs(
    jobs: Sequence[Job],
    at_once: int,
    environment: Mapping[str, str],
    display: Display,
    lock: IO[str],
) -> list[Job]:
    """Run jobs; an interruption ends their commands before it is passed on.

    Args:
        jobs: started in this order.
        at_once: how many run beside each other.
        environment: variables of the commands.
        display: is told how it goes.
        lock: what `alone_in` gave; a command holds it, too, as it goes on when this process is
            killed.

    Returns:
        The jobs that failed, in the order in which they did; the others have gone on.
    """
    waiting = deque(jobs)
    running: list[Running] = []
    failed: list[Job] = []
    with ended_by_signals():
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    running.append(begin(waiting.popleft()))
                for work in list(running):
                    code = advance(work, environment, lock)
                    if code is None:
                        continue
                    running.remove(work)
                    work.log.close()
                    if code:
                        failed.append(work.job)
                    display.ended(work.job, code, work.seconds)
                display.progress(running, waiting)
                if running:
                    time.sleep(SECONDS_BETWEEN_LOOKS)
        finally:
            stop(running)
    return failed


def begin(job: Job) -> Running:
    """Open a job's log."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    return Running(job, deque(job.steps), time.monotonic(), job.log.open("ab"))


def advance(work: Running, environment: Mapping[str, str], lock: IO[str]) -> int | None:
    """Start a job's next step when the one before has ended.

    Returns:
        None while the job is at work; at its end 0, or the exit code of the step that failed.
    """
    if work.process is not None and work.step is not None:
        code = work.process.poll()
        if code is None:
            return None
        if code:
            return code
        work.step.done.touch()
        work.process = None
    while work.steps:
        work.step = work.steps.popleft()
        if not work.step.done.exists():
            # A session of its own: ^C reaches this process alone, which ends them all, workers of
            # dataloaders included.
            work.process = subprocess.Popen(
                work.step.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=work.log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(lock.fileno(),),
            )
            return None
    return 0


def stop(running: Sequence[Running]) -> None:
    """End what is at work, by force what does not end within seconds."""
    processes = [work.process for work in running if work.process is not None]
    for sign in (signal.SIGTERM, signal.SIGKILL):
        deadline = time.monotonic() + SECONDS_TO_END
        for process in processes:
            try:
                os.killpg(process.pid, sign)
            except ProcessLookupError:  # it has ended by itself
                continue
        for process in processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue
    for work in running:
        work.log.close()


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn a signal to end into an exception, so that nothing is left at work."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    signs = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(sign, leave) for sign in signs]
    try:
        yield
    finally:
        for sign, handler in zip(signs, before):
            signal.signal(sign, handler)


def run(command: Sequence[str]) -> int:
    """Run a command to its end, a signal to end included, and return its exit code as a shell does.

    Raises:
        KeyboardInterrupt: there was one, and the command has ended.
    """
    process = subprocess.Popen(command, env={"PYTHON": sys.executable, **os.environ})
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # ^C reaches the command as well, which is to end by itself.
        try:
            process.wait(SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return code if code >= 0 else 128 - code
