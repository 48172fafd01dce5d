"""Write files whole: an interruption or a full disk leaves the earlier file or the new one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image

from mmorderless.errors import DISK_ERRORS


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Name a file or folder in the error of a full disk within a block, if it names none.

    Raises:
        OSError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_ERRORS or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Create the file's folder, and yield a temporary path next to it that replaces it at the end.

    After an error the temporary file is removed and `file` is as before.

    Raises:
        OSError: the file cannot be written.
    """
    # Short, since the name of a picture may be as long as the file system allows.
    unfinished = file.with_name(f".{file.stem[:20]}.{os.getpid()}{file.suffix}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        yield unfinished
        unfinished.replace(file)
    except OSError as error:
        raise OSError(
            f"{file} cannot be written: {error.strerror or error}; free space on the disk, check "
            "the folder's permissions, or choose another folder"
        ) from error
    finally:
        with suppress(OSError):  # it was moved, or its folder could not be created
            unfinished.unlink()


def write_text(file: Path, text: str) -> None:
    r"""Replace a text file.

    Bytes of a file name that are no UTF-8 are escaped as in `\udce9`, which JSON and Python read
    back as they were.
    """
    with replacing(file) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_png(file: Path, rgb: np.ndarray) -> None:
    """Replace a PNG file.

    Args:
        file: the file.
        rgb: uint8, shape (H, W, 3).
    """
    with replacing(file) as unfinished:
        Image.fromarray(rgb).save(unfinished, compress_level=1)
