"""The parameter that moves a method's operating point: a threshold or an END bias."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Dial:
    """A head's dial between precision and recall.

    Attributes:
        name: `end_bias` or `threshold`; the last cuts scores that are there.
        default: its value as the model was configured.
    """

    name: str
    default: float


def dial_of(head: Any) -> Dial:
    """Return a head's dial.

    Args:
        head: one that emits a sequence, or one of mmpretrain's multi-label heads.
    """
    if hasattr(head, "decoding"):
        return Dial("end_bias", float(head.decoding.end_bias))
    threshold = getattr(head, "thr", None)
    return Dial("threshold", DEFAULT_THRESHOLD if threshold is None else float(threshold))


def turned(head: Any, dial: Dial, value: float) -> dict[str, Any]:
    """Return the attributes that set a sequence head's dial."""
    return {"decoding": replace(head.decoding, end_bias=value)}


@contextmanager
def attributes_set(head: Any, attributes: Mapping[str, Any]) -> Iterator[None]:
    """Give a head other attributes for the length of a block."""
    before = {name: getattr(head, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(head, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(head, name, value)
