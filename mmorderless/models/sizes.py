"""Check the lists of sizes that a config gives."""

from collections.abc import Sequence
from typing import Any


def size_list(name: str, sizes: Any, length: int | None = None) -> tuple[int, ...]:
    """Return a config's list of sizes, of any length if that is None, as a tuple.

    Raises:
        ValueError: it is no list of positive integers, or not of that length.
    """
    are_sizes = isinstance(sizes, Sequence) and all(isinstance(x, int) and x > 0 for x in sizes)
    if are_sizes and length in (None, len(sizes)):
        return tuple(sizes)
    number = "" if length is None else f"{length} "
    raise ValueError(f"{name} must be a list of {number}positive integers, got {sizes!r}")
