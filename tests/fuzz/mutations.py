"""Damage to files: each function returns a changed copy of a file's bytes."""

import json
import random

TOKENS = (
    *(b"\0", b"\n", b"\r", b'"', b"'", b",", b";", b"\\", b"/", b"<", b"-", b"1", b" ", b"\t"),
    *(b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"null", b"9" * 30, b"9" * 5000, b"[" * 5000),
)
DEEP = "deep nesting"
VALUES = (
    *(None, True, False, -1, 0, 1, 0.5, 10**400, float("nan"), float("inf")),
    *("", " ", "1", "text", "\ud800", "\0", "a\\b", [], {}, [[]], [0], {"id": 1}, ["x"], DEEP),
)


def flip_bit(rng: random.Random, data: bytes) -> bytes:
    i = rng.randrange(len(data))
    return data[:i] + bytes([data[i] ^ 1 << rng.randrange(8)]) + data[i + 1 :]


def insert_token(rng: random.Random, data: bytes) -> bytes:
    i = rng.randint(0, len(data))
    return data[:i] + rng.choice(TOKENS) + data[i:]


def overwrite_byte(rng: random.Random, data: bytes) -> bytes:
    i = rng.randrange(len(data))
    return data[:i] + bytes([rng.randrange(256)]) + data[i + 1 :]


def _block(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = rng.randrange(len(data))
    return start, min(len(data), start + rng.choice((1, 2, 4, 16, 64, 512)))


def delete_block(rng: random.Random, data: bytes) -> bytes:
    start, end = _block(rng, data)
    return data[:start] + data[end:]


def zero_block(rng: random.Random, data: bytes) -> bytes:
    start, end = _block(rng, data)
    return data[:start] + bytes(end - start) + data[end:]


def repeat_block(rng: random.Random, data: bytes) -> bytes:
    start, end = _block(rng, data)
    return data[:end] + data[start:]


def truncate(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def drop_line(rng: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    del lines[rng.randrange(len(lines))]
    return b"".join(lines)


def repeat_line(rng: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    lines.insert(rng.randint(0, len(lines)), rng.choice(lines))
    return b"".join(lines)


def swap_lines(rng: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True)
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    return b"".join(lines)


def _nodes(value: object) -> list[tuple]:
    """List (container, key) of every value inside a JSON value."""
    if isinstance(value, dict):
        items = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list) else []
    return [(value, key) for key, _ in items] + [node for _, x in items for node in _nodes(x)]


def _changed_json(rng: random.Random, data: bytes, change) -> bytes:
    document = json.loads(data)
    change(*rng.choice(_nodes(document)))
    text = json.dumps(document, indent=1)
    return text.replace(f'"{DEEP}"', "[" * 5000 + "]" * 5000).encode()


def replace_node(rng: random.Random, data: bytes) -> bytes:
    new = rng.choice(VALUES)
    return _changed_json(rng, data, lambda container, key: container.__setitem__(key, new))


def delete_node(rng: random.Random, data: bytes) -> bytes:
    return _changed_json(rng, data, lambda container, key: container.__delitem__(key))


BYTES = (flip_bit, overwrite_byte, insert_token, delete_block, zero_block, repeat_block, truncate)
LINES = (drop_line, repeat_line, swap_lines)
NODES = (replace_node, replace_node, replace_node, delete_node)
