"""Report a fault of a dataset: raise an error, or collect it for tools/check_dataset.py."""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from mmengine.logging import print_log

_collected: ContextVar[list[str] | None] = ContextVar("_collected", default=None)


@contextmanager
def collect_faults() -> Iterator[list[str]]:
    """Collect the faults of single entries instead of stopping at the first.

    Yields:
        A list that receives the messages in the order of the entries.
    """
    faults: list[str] = []
    token = _collected.set(faults)
    try:
        yield faults
    finally:
        _collected.reset(token)


def report_fault(message: str) -> None:
    """Raise a ValueError about one entry of a file, or collect it inside `collect_faults`.

    The caller continues with the correct content of the entry.
    """
    faults = _collected.get()
    if faults is None:
        raise ValueError(message)
    faults.append(message)


@contextmanager
def report_errors() -> Iterator[None]:
    """Report a ValueError that is raised inside as a fault of one entry; the entry is left out."""
    try:
        yield
    except ValueError as error:
        report_fault(str(error))


def report_doubt(message: str) -> None:
    """Warn of something that is probably wrong, or collect it inside `collect_faults`."""
    faults = _collected.get()
    if faults is None:
        print_log(message, logger="current", level=logging.WARNING)
    else:
        faults.append(message)


def report_cut_end(text: str, path: str) -> None:
    """Report a doubt about a text file whose last line has no line end: it may have been cut."""
    if text and not text.endswith(("\n", "\r")):
        last = text.splitlines()[-1][-100:]
        report_doubt(
            f"{path}: the last line, {last!r}, has no line end, so the file may be incomplete; "
            "compare it with the original, or end the line"
        )


def repeated_items(items: Sequence[str]) -> list[str]:
    """List the items that occur more than once, in order of first occurrence."""
    return [item for item, count in Counter(items).items() if count > 1]
