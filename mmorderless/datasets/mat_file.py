"""Read the texts and matrices of a MATLAB file (level 5, which -v6 and -v7 write).

A file is a header of 128 bytes and a list of elements: type, number of bytes, content. A variable
is a matrix element, which holds elements in turn: flags, dimensions, name, and then numbers,
characters or, for a cell array, a matrix element per cell. SciPy does not read it, because a wrong
bit in the file can end the process there (SIGSEGV), or make it loop or allocate without limit.
"""

import math
import struct
import zlib

import numpy as np

from mmorderless.datasets.text_files import read_bytes

HEADER_SIZE = 128
LEVEL_5, LEVEL_7_3 = b"\x00\x01IM", b"\x00\x02IM"  # end of the header: version and byte order
LFS_POINTER = b"version https://git-lfs"
MATRIX, COMPRESSED = 14, 15
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8"}
CHARACTERS = {4: "utf-16-le", 16: "utf-8", 17: "utf-16-le"}
CELL_CLASS, CHAR_CLASS, NUMBER_CLASSES = 1, 4, range(6, 16)
COMPLEX_FLAG = 0x800

Value = np.ndarray | str | list | None
Elements = list[tuple[int, memoryview]]
"""Type and content of each element."""


def read_mat(path: str) -> dict[str, Value]:
    """Read the variables of a MATLAB file with the byte order of PCs.

    Returns:
        By name: a matrix of real numbers as an array, a row of characters as text, a cell array as
        the list of its cells, column by column. Values of other types are None.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is not such a file, or it is damaged.
    """
    content = read_bytes(path)
    try:
        _check_header(content)
        return dict(_variables(memoryview(content)[HEADER_SIZE:]))
    except (ValueError, struct.error, zlib.error, RecursionError) as error:
        raise ValueError(f"annotation file {path} cannot be read: {error}") from None


def _check_header(content: bytes) -> None:
    level = content[HEADER_SIZE - len(LEVEL_5) : HEADER_SIZE]
    if content.startswith(LFS_POINTER):
        raise ValueError("it is a Git LFS pointer, not the file itself (git lfs pull)")
    if level == LEVEL_7_3:
        raise ValueError("it has MATLAB's version 7.3 (save it with -v7)")
    if level != LEVEL_5:
        raise ValueError(f"it has no MATLAB header, but begins with {content[:20]!r}")


def _variables(content: memoryview) -> list[tuple[str, Value]]:
    variables = []
    for kind, body in _elements(content):
        if kind == COMPRESSED:  # zlib compares the checksum
            ((kind, body),) = _elements(memoryview(zlib.decompress(body)))
        variables.append(_matrix(kind, body))
    return variables


def _elements(content: memoryview) -> Elements:
    """Divide bytes into elements, which must lie within them."""
    elements = []
    start = 0
    while start < len(content):
        kind, size = struct.unpack_from("<II", content, start)
        if kind >> 16:  # short form: type and size in 4 bytes, then up to 4 bytes of content
            kind, size, first, end = kind & 0xFFFF, kind >> 16, start + 4, start + 8
        else:
            first = start + 8
            end = first + (size if kind == COMPRESSED else -(-size // 8) * 8)
        if first + size > min(end, len(content)):
            raise ValueError(f"an element of {size} bytes does not fit into its place")
        elements.append((kind, content[first : first + size]))
        start = end
    return elements


def _matrix(kind: int, body: memoryview) -> tuple[str, Value]:
    """Return the name and the value of a matrix element."""
    if kind != MATRIX:
        raise ValueError(f"an element of type {kind} where a matrix should be")
    if not body:  # an empty cell
        return "", None
    (_, flags), (_, dimensions), (_, name), *parts = _elements(body)
    (flag,) = struct.unpack_from("<I", flags)
    shape = struct.unpack(f"<{len(dimensions) // 4}i", dimensions)
    if len(shape) < 2:
        raise ValueError(f"a matrix with {len(shape)} dimensions")
    return bytes(name).decode("ascii"), _value(flag, shape, parts)


def _value(flag: int, shape: tuple[int, ...], parts: Elements) -> Value:
    matrix_class, size = flag & 0xFF, math.prod(shape)
    if matrix_class == CELL_CLASS:
        if size != len(parts):
            raise ValueError(f"a cell array of shape {shape} with {len(parts)} cells")
        return [_matrix(kind, body)[1] for kind, body in parts]
    if flag & COMPLEX_FLAG or matrix_class not in (CHAR_CLASS, *NUMBER_CLASSES):
        return None
    ((kind, content),) = parts
    if matrix_class in NUMBER_CLASSES and kind in NUMBERS:
        return np.frombuffer(content, f"<{NUMBERS[kind]}").reshape(shape, order="F")
    if matrix_class == CHAR_CLASS and kind in CHARACTERS:
        text = bytes(content).decode(CHARACTERS[kind])
        if len(text) != size:
            raise ValueError(f"a text of shape {shape} with {len(text)} characters")
        return text if shape[0] == 1 or not text else None
    raise ValueError(f"a matrix of class {matrix_class} with values of type {kind}")
