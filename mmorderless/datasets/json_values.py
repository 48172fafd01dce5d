"""Check the types of JSON values: lists, text, ids.

Each check raises a ValueError; inside `report_errors`, that is a fault of one entry of the file.
"""

import os
from collections.abc import Sequence
from reprlib import Repr
from typing import Any

KINDS = {
    int: "an integer",
    float: "a number with a fraction",
    str: "text",
    bool: "a boolean",
    type(None): "null",
    list: "a list",
    dict: "an object",
}

_short = Repr()
_short.maxlist = _short.maxtuple = 20
_short.maxstring = _short.maxother = 200
_short.maxlevel = 3


def shown(value: Any) -> str:
    """Return a value as in `repr`, shortened where it is long, large or deeply nested."""
    return _short.repr(value)


def check_keys(record: Any, keys: Sequence[str], what: str, form: str) -> None:
    """Raise a ValueError when a value is not a JSON object or lacks one of the keys."""
    if not isinstance(record, dict):
        raise ValueError(f"{what} must be a JSON object, got {shown(record)}; {form}")
    missing = [key for key in keys if key not in record]
    if missing:
        raise ValueError(f"{what} lacks {', '.join(missing)}; {form}")


def check_list(value: Any, what: str, form: str) -> list:
    """Return a value that is a list.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, list):
        raise ValueError(f"{what} must be a list, got {shown(value)}; {form}")
    return value


def check_text(value: Any, what: str, form: str) -> str:
    """Return a value that is text and can be a file name: not blank, without NUL, valid Unicode.

    Raises:
        ValueError: it is none.
    """
    try:
        is_text = isinstance(value, str) and value.strip() != "" and b"\0" not in os.fsencode(value)
    except UnicodeEncodeError:  # a lone surrogate: JSON can write one, no file can be named so
        is_text = False
    if not is_text:
        raise ValueError(f"{what} must be non-blank, valid text, got {shown(value)}; {form}")
    return value


def id_kind(ids: Sequence[Any]) -> type:
    """Return the type that all ids must have: that of the first, if it is text, else integer."""
    return str if ids and isinstance(ids[0], str) else int


def check_id(value: Any, kind: type, what: str) -> None:
    """Raise a ValueError when an id has not the type of the others.

    Args:
        value: the id.
        kind: `int` or `str`; a boolean is no integer.
        what: whose id it is, for the message.
    """
    if type(value) is not kind:
        found = KINDS.get(type(value), type(value).__name__)
        raise ValueError(
            f"{what} must be {KINDS[kind]} like the other ids, got {shown(value)}, which is "
            f"{found}; write all ids as {'text' if kind is str else 'integers'}"
        )
