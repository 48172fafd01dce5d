"""Errors a user can cause, said on one line."""

import atexit
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from torch import distributed

DEBUG_VARIABLE = "MMORDERLESS_DEBUG"

_USER_ERRORS = (ValueError, OSError, ImportError, SyntaxError, EOFError)

# One of these is about the user's config or files when the host raises it (an unknown type, an
# argument that a class does not take, an image that cannot be decoded, a damaged checkpoint); when
# our own code does, it is a defect, whose traceback must be seen.
_HOST_ERRORS = (TypeError, KeyError, AssertionError, RuntimeError)
_HOST_CODE = re.compile(r"/(mmengine|mmcv|mmpretrain)/|/torch/serialization\.py$")

_IN_WORKER = re.compile(r"Caught (\w+) in DataLoader worker")

Main = Callable[[Sequence[str] | None], int | None]


def run_tool(main: Main, argv: Sequence[str] | None = None) -> None:
    """Run a tool's main function and leave the process with its exit code.

    An error a user can cause ends as one line `error: ...` on stderr and exit code 1, without a
    traceback unless the environment has MMORDERLESS_DEBUG=1. Any other exception passes through.

    Args:
        main: takes the command line's arguments and returns the exit code (None is 0).
        argv: the arguments without the program's name; None takes those of the process.
    """
    try:
        code = main(argv) or 0
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        code = 130
    except Exception as error:
        if not is_user_error(error):
            raise
        if os.environ.get(DEBUG_VARIABLE) == "1":
            traceback.print_exc()
        print(f"error: {error_line(error)}", file=sys.stderr, flush=True)
        code = 1
    if distributed.is_available() and distributed.is_initialized():
        _leave_process_group(code)
    sys.exit(code)


def _leave_process_group(code: int) -> NoReturn:
    """End a process of a distributed run, without Python's own way of winding up.

    After an error the other processes wait in a collective call: leaving without a goodbye lets the
    launcher end them. After success, a thread of gloo may still release a tensor while Python winds
    up, which aborts the process ("terminate called without an active exception").
    """
    if code == 0:
        distributed.destroy_process_group()
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def is_user_error(error: BaseException) -> bool:
    """Tell whether an error is about the user's files, config or options.

    Args:
        error: a raised exception; one from a DataLoader's worker is judged by what it wraps.
    """
    if isinstance(error, _USER_ERRORS):
        return True
    if not isinstance(error, _HOST_ERRORS):
        return False
    text = _text(error)
    if wrapped := _IN_WORKER.match(text):
        # torch keeps the type, unless an exception of that type cannot be made from a text alone.
        if wrapped[1] in {kind.__name__ for kind in _USER_ERRORS}:
            return True
        files = re.findall(r'^\s*File "([^"]+)", line \d+', text, flags=re.MULTILINE)
    else:
        files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    return bool(files and _HOST_CODE.search(Path(files[-1]).as_posix()))


def error_line(error: BaseException) -> str:
    """Say an error on one line.

    Args:
        error: the exception; of one from a DataLoader's worker, which carries the worker's
            traceback as its text, only the message itself is kept.
    """
    text = _text(error)
    if wrapped := _IN_WORKER.match(text):
        # The message follows the "Type: " that ends the traceback.
        text = re.split(rf"^(?:\w+\.)*{wrapped[1]}: ", text, flags=re.MULTILINE)[-1]
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    elif isinstance(error, KeyError) and " " not in text:
        text = f"missing key {text!r}{_place(error)}"
    return " ".join(text.split()) or type(error).__name__


def _place(error: BaseException) -> str:
    """Where the host missed a key, which is all that tells what the key is for."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not _HOST_CODE.search(Path(frames[-1].filename).as_posix()):
        return ""
    return f" ({Path(frames[-1].filename).name}, {frames[-1].name.strip('_')})"


def _text(error: BaseException) -> str:
    # str(KeyError("x")) is "'x'": a message within quotation marks.
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return str.__str__(error.args[0])
    return str(error)
