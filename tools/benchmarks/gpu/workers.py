"""Run checks in other processes, which are killed with all that they started when time is up.

A check that hangs within CUDA cannot be interrupted from its own process, and after an error on the
device nothing works in it any more.
"""

import os
import signal
import traceback
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

MAX_TEXT = 700


@dataclass(frozen=True)
class Conditions:
    """What every check is given.

    Args:
        device: `cuda`, or `cpu` for tiny sizes.
        folder: an existing folder that all checks share.
    """

    device: str
    folder: Path

    @property
    def quick(self) -> bool:
        """Whether sizes are tiny."""
        return self.device == "cpu"


class Worker:
    """A process that runs one check after the other.

    Args:
        modules: imported before the first check.
        seconds: the process is killed if this takes longer; on an idle machine it takes some 5 s.
    """

    def __init__(self, modules: Iterable[str], seconds: float) -> None:
        context = get_context("spawn")
        self._connection, end = context.Pipe()
        self._process = context.Process(target=_serve, args=(end, list(modules)), daemon=True)
        self._process.start()
        end.close()
        self._error = self._receive(seconds, "did not start within")  # None if it started

    def run(self, function: str, conditions: Conditions, seconds: float) -> dict[str, Any] | str:
        """Run a check; return what it reports, or the error as a line.

        Args:
            function: `module:function`.
            conditions: its argument.
            seconds: the process is killed if it takes longer.
        """
        answer = self._error
        if answer is None:
            with suppress(OSError):  # the process was killed, which `_receive` will notice
                self._connection.send((function, conditions))
            answer = self._receive(seconds)
        if isinstance(answer, str):
            self.kill()
        return answer

    def kill(self) -> None:
        """Kill the process and all that it started."""
        assert self._process.pid
        with suppress(ProcessLookupError):  # it has ended, or not yet become a group's leader
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.join()

    @property
    def is_alive(self) -> bool:
        """Whether it can run a further check."""
        return self._process.is_alive()

    def _receive(self, seconds: float, too_late: str = "stopped after") -> Any:
        try:
            if self._connection.poll(seconds):
                return self._connection.recv()
        except (EOFError, OSError):
            self._process.join(10)
            return f"its process ended with code {self._process.exitcode}"
        return f"{too_late} {seconds:.0f} s"


def _serve(connection: Connection, modules: list[str]) -> None:
    os.setsid()  # `kill` reaches what a check starts
    error: str | None = None
    try:
        for module in modules:
            import_module(module)
    except Exception as caught:
        error = _describe(caught)
    connection.send(error)
    while True:
        try:
            function, conditions = connection.recv()
        except EOFError:
            return
        module, _, name = function.partition(":")
        try:
            answer = getattr(import_module(module), name)(conditions)
        except Exception as caught:
            answer = _describe(caught)
        connection.send(answer)


def _describe(error: Exception) -> str:
    """Return an error's type, message and place in one line."""
    frames = traceback.extract_tb(error.__traceback__)[1:]
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in frames]
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"{text[:MAX_TEXT]} ({' > '.join((*places[:2], *places[2:][-2:]))})"
