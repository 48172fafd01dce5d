"""Read text and JSON files; every error names the file."""

import codecs
import io
import json
from collections.abc import Callable
from http.client import HTTPException
from typing import Any

import mmengine.fileio as fileio

ANNOTATION_REMEDY = "set data_root and ann_file to its location"
READ_ERRORS = (OSError, ValueError, HTTPException, ImportError, KeyError)
"""Raised by storage backends: a damaged disk, a NUL in a path, a URL that is none, a client that is
not installed, an unknown storage."""

UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def reason_of(error: Exception) -> str:
    """Return the reason of one of the READ_ERRORS without the file's name."""
    if isinstance(error, KeyError):
        return f"mmengine knows no storage {error}"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def read_bytes(path: str, remedy: str = ANNOTATION_REMEDY) -> bytes:
    """Return the content of a local or remote file.

    Raises:
        OSError: the file is missing or cannot be read.
    """
    try:
        return fileio.get(path)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist; {remedy}") from None
    except READ_ERRORS as error:
        raise OSError(f"{path} cannot be read ({reason_of(error)}); {remedy}") from None


def read_text(path: str, remedy: str = ANNOTATION_REMEDY) -> str:
    """Return the text of a UTF-8 file with its line ends, without a byte-order mark.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is not UTF-8.
    """
    content = read_bytes(path, remedy)
    # ASCII in UTF-16 has a zero in every second byte.
    if content.startswith(UTF16_MARKS) or content[:4].count(0) == 2:
        raise ValueError(f"{path} is UTF-16 text; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 ({error.reason} {content[error.start : error.start + 1]!r}, "
            f"position {error.start}); save it as UTF-8, or write it again if it is damaged"
        ) from None


def read_lines(path: str, remedy: str = ANNOTATION_REMEDY) -> list[str]:
    """Return the lines of a UTF-8 file, stripped; empty lines are skipped.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is not UTF-8.
    """
    lines = io.StringIO(read_text(path, remedy), newline=None)
    return [line.strip() for line in lines if line.strip()]


def read_annotation_file(path: str, object_hook: Callable[[dict], Any] | None = None) -> dict:
    """Read an annotation file whose top level is a JSON object.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: the file is not UTF-8, not JSON, or not an object.
    """
    text = read_text(path)
    try:
        annotations = json.loads(text, object_hook=object_hook)
    except RecursionError:
        raise ValueError(
            f"annotation file {path} is nested too deeply; check that ann_file names the right file"
        ) from None
    except ValueError as error:  # no JSON, or an integer of thousands of digits
        raise ValueError(
            f"annotation file {path} is not valid JSON ({str(error).partition(';')[0]}); "
            "it may be incomplete: download or write it again"
        ) from None
    if not isinstance(annotations, dict):
        raise ValueError(
            f"annotation file {path} must hold a JSON object, got {type(annotations).__name__}; "
            "check that ann_file names the right file"
        )
    return annotations
