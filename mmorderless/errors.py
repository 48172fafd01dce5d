"""Report user errors as one line instead of a traceback."""

import atexit
import errno
import os
import pickle
import re
import struct
import sys
import sysconfig
import traceback
from collections.abc import Callable, Sequence
from inspect import getfile
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn

import cv2
import mmcv
import mmengine
import mmpretrain
import PIL
from PIL.Image import DecompressionBombError
from torch import distributed

DEBUG_VARIABLE = "MMORDERLESS_DEBUG"

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Numbers of the errors of a full disk, a quota or a limit."""

_STDLIB = Path(sysconfig.get_path("stdlib")).as_posix()
_USER_ERRORS = (ValueError, OSError, ImportError, SyntaxError, EOFError)

# Raised by OpenMMLab, a library that it calls, Pillow or torch.load, these are user errors: an
# unknown type or argument, an image that cannot be decoded, images of a batch that differ in size,
# a damaged checkpoint. Raised by our own code or by the user's they are bugs, which keep their
# traceback.
_HOST_ERRORS = (
    *(TypeError, KeyError, IndexError, AttributeError, AssertionError, RuntimeError),
    *(pickle.UnpicklingError, struct.error, cv2.error, DecompressionBombError),
)
_HOSTS = [Path(getfile(host)).parent.as_posix() for host in (mmengine, mmcv, mmpretrain, PIL)]
_HOST_CODE = re.compile(rf"^({'|'.join(map(re.escape, _HOSTS))})/|/torch/serialization\.py$")
_LIBRARY = re.compile(rf"/(site|dist)-packages/(?!mmorderless/)|^{re.escape(_STDLIB)}/|^<frozen ")

_OS_REMEDIES = {
    **dict.fromkeys(DISK_ERRORS, "free space on the disk, or choose another folder"),
    **dict.fromkeys(
        (errno.EACCES, errno.EPERM, errno.EROFS), "check the permissions, or choose another path"
    ),
    **dict.fromkeys(
        (errno.EEXIST, errno.ENOTDIR, errno.EISDIR),
        "there is a file where a folder should be, or a folder where a file: choose another path",
    ),
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}

_REMEDIES = (
    (
        "stack expects each tensor to be equal size",
        "",
        "the images of a batch differ in size: give the pipeline a Resize with two numbers, as "
        "dict(type='Resize', scale=(224, 224))",
    ),
    (
        "must match the size of tensor",
        "binary_cross_entropy",
        "give pos_weight and class_weight one number per class",
    ),
    (
        "failed to load image",
        "",
        "copy or download it again, or remove it from the annotation file",
    ),
    (
        "shapes cannot be multiplied",
        "",
        "set in_channels of the head to the number of features, the second of the numbers",
    ),
    (
        "'NoneType' object has no attribute 'text'",
        "_get_labels_from_xml",
        "an object of an XML file lacks <name> or <difficult>: use the dataset VocMultiLabel, "
        "which takes the latter for 0 and names a file that lacks the former",
    ),
)
"""Part of a library's message, function of OpenMMLab that it comes from or "", and the remedy."""

_WRONG_ARGUMENT = re.compile(r"__init__\(\) (got an unexpected keyword|missing \d+ required)")
_IN_WORKER = re.compile(r"Caught (\w+) in DataLoader worker")

Main = Callable[[Sequence[str] | None], int | None]


def run_tool(main: Main, argv: Sequence[str] | None = None) -> None:
    """Run a tool's main function and exit with its exit code.

    A user error is printed as one line `error: ...` on stderr, with exit code 1; with the
    environment variable MMORDERLESS_DEBUG=1 the traceback is printed too. Other exceptions are
    raised.

    Args:
        main: function of the command line's arguments that returns the exit code; None means 0.
        argv: the arguments without the program's name; None takes the process's own.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            # A file's name may hold characters that the terminal's encoding lacks.
            stream.reconfigure(errors="backslashreplace")
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
    """End a process of a distributed run without Python's regular shutdown.

    After an error the other processes wait in a collective call; an immediate exit lets the
    launcher end them. After success, a gloo thread may release a tensor during Python's shutdown,
    which aborts the process ("terminate called without an active exception").
    """
    if code == 0:
        distributed.destroy_process_group()
        atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def is_user_error(error: BaseException) -> bool:
    """Return whether an error is caused by the user's files, config or options.

    Args:
        error: a raised exception; for one from a DataLoader worker, the worker's exception counts.
    """
    if isinstance(error, _USER_ERRORS):
        return True
    if not isinstance(error, _HOST_ERRORS):
        return False
    text = _text(error)
    if wrapped := _IN_WORKER.match(text):
        # PyTorch keeps the type unless it cannot be created from a message alone.
        if wrapped[1] in {kind.__name__ for kind in _USER_ERRORS}:
            return True
        files = re.findall(r'^\s*File "([^"]+)", line \d+', text, flags=re.MULTILINE)
    else:
        frames = traceback.extract_tb(error.__traceback__)
        if _WRONG_ARGUMENT.search(text):
            # An option of the config that constructors hand on to their bases.
            while frames and frames[-1].name == "__init__":
                frames.pop()
        files = [frame.filename for frame in frames]
    # Code of a library is as good as its caller's.
    callers = (Path(file).as_posix() for file in reversed(files))
    caller = next((f for f in callers if _HOST_CODE.search(f) or not _LIBRARY.search(f)), "")
    return bool(_HOST_CODE.search(caller))


def error_line(error: BaseException) -> str:
    """Return an error's message as one line.

    Args:
        error: the exception. One from a DataLoader worker has the worker's traceback as its text,
            of which only the message is kept.
    """
    text = _text(error)
    if wrapped := _IN_WORKER.match(text):
        # The message follows "Type: " in the last line of the traceback.
        text = re.split(rf"^(?:\w+\.)*{wrapped[1]}: ", text, flags=re.MULTILINE)[-1]
    elif isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
        if remedy := _OS_REMEDIES.get(error.errno or 0):
            text += f"; {remedy}"
    elif isinstance(error, KeyError) and " " not in text:
        text = f"missing key {text!r}{_missing_in(error)}"
    functions = {"", *(frame.name for frame in traceback.extract_tb(error.__traceback__))}
    for part, function, remedy in _REMEDIES:
        if part in text and function in functions:
            text = f"{text.strip()}; {remedy}"
    return " ".join(text.split()) or type(error).__name__


def _missing_in(error: BaseException) -> str:
    """Return the file and function of OpenMMLab that misses a key, which tell what it is for."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or not _HOST_CODE.search(Path(frames[-1].filename).as_posix()):
        return ""
    return f" ({Path(frames[-1].filename).name}, {frames[-1].name.strip('_')})"


def _text(error: BaseException) -> str:
    # str(KeyError("x")) is "'x'", the message in quotation marks.
    if isinstance(error, KeyError) and error.args and isinstance(error.args[0], str):
        return str.__str__(error.args[0])
    return str(error)
