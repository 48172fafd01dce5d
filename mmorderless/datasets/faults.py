"""Report a fault of a dataset: raise it, or collect it for tools/check_dataset.py."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_collected: ContextVar[list[str] | None] = ContextVar("_collected", default=None)


@contextmanager
def collect_faults() -> Iterator[list[str]]:
    """Gather the faults of single entries instead of stopping at the first.

    Yields:
        The messages so far, in the order in which the entries are read.
    """
    faults: list[str] = []
    token = _collected.set(faults)
    try:
        yield faults
    finally:
        _collected.reset(token)


def report_fault(message: str) -> None:
    """Raise a ValueError about one entry of a file, or note it inside `collect_faults`.

    Who calls it goes on with what is right in the entry.
    """
    faults = _collected.get()
    if faults is None:
        raise ValueError(message)
    faults.append(message)


def repeated_items(items: Sequence[str]) -> list[str]:
    """List the items that occur more than once, in order of first occurrence."""
    return [item for item, count in Counter(items).items() if count > 1]
