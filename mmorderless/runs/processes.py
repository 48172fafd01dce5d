"""Run commands in parallel, one process per folder, and stop them when this process is stopped."""

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from socket import gethostname
from threading import Lock
from typing import IO

SECONDS_TO_END = 10.0


@dataclass(frozen=True)
class Step:
    """A command and the file that marks it as finished.

    Attributes:
        command: words of the command.
        done: the step is skipped if this file exists; the file is created when the command exits
            with code 0 without having written it.
    """

    command: Sequence[str]
    done: Path


@dataclass(frozen=True)
class Job:
    """Steps that run one after the other until one fails; their output is appended to `log`."""

    name: str
    steps: Sequence[Step]
    log: Path


@contextmanager
def exclusive(folder: Path, option: str = "--work-dir") -> Iterator[IO[str]]:
    """Hold a lock on a folder so that only one process writes to it.

    Args:
        folder: created if it does not exist.
        option: command-line option that names another folder.

    Yields:
        The lock file, which names this process. Commands that inherit it (`pass_fds`) keep the lock
        until the last one ends; forked processes such as a dataloader's workers do not.

    Raises:
        ValueError: another process holds the lock.
    """
    # Not filelock: its file descriptor is private, and its release also unlocks child processes.
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise ValueError(
                f"{lock.read() or 'another process'}, or one that it left behind, writes to "
                f"{folder}; wait until it ends or choose another folder ({option})"
            ) from error
        except OSError as error:  # some network file systems have no locks
            print(
                f"warning: cannot lock {folder} ({error.strerror}); let no other process write "
                "to it",
                file=sys.stderr,
                flush=True,
            )
        lock.truncate(0)
        lock.write(f"process {os.getpid()} on {gethostname()} since {datetime.now():%F %T}")
        lock.flush()
        os.register_at_fork(after_in_child=lock.close)  # dataloader workers may outlive a kill
        yield lock


def run_jobs(
    jobs: Sequence[Job],
    max_workers: int,
    environment: Mapping[str, str],
    lock: IO[str],
    on_start: Callable[[Job], None],
    on_end: Callable[[Job, int], None],
) -> list[Job]:
    """Run jobs in parallel; a signal or an error stops all their commands.

    Args:
        jobs: started in this order.
        max_workers: maximum number of jobs that run at the same time.
        environment: environment variables of the commands.
        lock: the folder's lock file; the commands, which may outlive this process, inherit it.
        on_start: called in a thread of each job.
        on_end: called in the same thread with 0 or the exit code of the step that failed.

    Returns:
        The jobs that failed, in order of failure. A failure does not stop the other jobs.
    """

    def run_one(job: Job) -> int:
        on_start(job)
        code = runner.run(job)
        if not runner.stopped:
            on_end(job, code)
        return code

    failed = []
    runner = _Runner(environment, lock)
    with exit_on_signals(), ThreadPoolExecutor(max_workers) as pool:
        futures: dict[Future[int], Job] = {}
        try:
            futures |= {pool.submit(run_one, job): job for job in jobs}
            for future in as_completed(futures):
                if future.result():
                    failed.append(futures[future])
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            runner.stop(futures)
    return failed


class _Runner:
    """Run jobs in several threads until another thread calls `stop`."""

    def __init__(self, environment: Mapping[str, str], lock: IO[str]) -> None:
        self.environment, self.lock = environment, lock
        self._starting = Lock()  # no command starts after `stop`
        self._running: set[subprocess.Popen] = set()
        self.stopped = False

    def run(self, job: Job) -> int:
        """Run the steps that are not finished; return 0 or the exit code of the failed step."""
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with job.log.open("ab") as log:
            for step in (step for step in job.steps if not step.done.exists()):
                code = self._call(step.command, log)
                if code or self.stopped:
                    return code
                step.done.touch()
        return 0

    def _call(self, command: Sequence[str], log: IO[bytes]) -> int:
        with self._starting:
            if self.stopped:
                return 128 + signal.SIGTERM
            # In a session of its own: ^C reaches only this process, which stops the whole group.
            process = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(self.lock.fileno(),),
            )
            self._running.add(process)
        code = process.wait()
        with self._starting:
            self._running.remove(process)
        return code

    def stop(self, futures: Collection[Future]) -> None:
        """Terminate the running commands, and kill those that do not end within seconds."""
        with self._starting:
            self.stopped = True
            groups = [process.pid for process in self._running]

        def send(sign: signal.Signals) -> None:
            for group in groups:
                with suppress(ProcessLookupError):  # it has already ended
                    os.killpg(group, sign)

        try:
            send(signal.SIGTERM)
            wait(futures, SECONDS_TO_END)
        finally:  # also after a second ^C
            send(signal.SIGKILL)


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Raise SystemExit on SIGTERM and SIGHUP, so that clean-up runs."""
    signs = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(sign, lambda number, _: sys.exit(128 + number)) for sign in signs]
    try:
        yield
    finally:
        for sign, handler in zip(signs, before):
            signal.signal(sign, handler)


def run(command: Sequence[str], lock: IO[str]) -> int:
    """Run a command to its end, even after a signal, and return the exit code a shell gives it.

    Args:
        command: words of the command.
        lock: the folder's lock file; the command, which may outlive this process, inherits it.

    Raises:
        KeyboardInterrupt: this process was interrupted, and the command has ended.
    """
    environment = {"PYTHON": sys.executable, **os.environ}
    process = subprocess.Popen(command, env=environment, pass_fds=(lock.fileno(),))
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # ^C also reaches the command, which should end by itself.
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)
        process.terminate()  # does nothing if it has ended
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, before)
    return code if code >= 0 else 128 - code
