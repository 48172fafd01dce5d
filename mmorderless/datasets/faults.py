"""Report a fault of a dataset: raise an error, or collect it for tools/check_dataset.py."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

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


def repeated_items(items: Sequence[str]) -> list[str]:
    """List the items that occur more than once, in order of first occurrence."""
    return [item for item, count in Counter(items).items() if count > 1]
