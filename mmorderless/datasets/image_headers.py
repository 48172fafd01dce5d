"""Read what the header of an image file says, without decoding its pixels."""

import re
import struct
import zlib
from io import BytesIO

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

MAX_PIXELS = 178_956_970
"""Pillow's limit: a picture of more pixels is taken for a damaged or a malicious file."""

PILLOW_ERRORS = (OSError, EOFError, IndexError, SyntaxError, TypeError, struct.error, zlib.error)
"""Raised by Pillow for damaged files."""

MAX_SAMPLE_VALUE = 281
"""TIFF tag of the largest value that a sample may have."""

PNM_HEADER = re.compile(
    rb"P[2356](?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+\d+(?:\s+|#[^\n]*\n)+(\d+)\s"
)


def is_jpeg(content: bytes) -> bool:
    """Return whether a file begins as a JPEG does."""
    return content.startswith(b"\xff\xd8\xff")


def may_be_deep(content: bytes) -> bool:
    """Return whether an image may have more than 8 bits per sample, by the start of its file."""
    if content.startswith(b"\x89PNG"):
        return content[24:25] == b"\x10"
    return not is_jpeg(content) and not content.startswith((b"GIF8", b"BM", b"RIFF"))


def stored_size(content: bytes) -> tuple[int, int] | None:
    """Read (H, W) as stored; None if Pillow cannot read the header.

    Raises:
        Image.DecompressionBombError: there are more than `MAX_PIXELS`.
    """
    # Image.open warns about pictures beyond 89 megapixels, which a JPEG may well have.
    read = JpegImageFile if is_jpeg(content) else Image.open
    try:
        width, height = read(BytesIO(content)).size
    except (ValueError, *PILLOW_ERRORS):
        return None
    if height * width > MAX_PIXELS:
        raise Image.DecompressionBombError(f"{width} × {height} pixels")
    return height, width


def stored_maximum(content: bytes) -> int | None:
    """Read the largest value, at most 16 bits, that a sample may have; None if it is not stated.

    Files of 16 bits often hold the 10, 12 or 14 bits of a camera. The chunk sBIT of a PNG, the tag
    MaxSampleValue of a TIFF and the header of a PGM or PPM tell.
    """
    maximum = _stated_maximum(content)
    return maximum if maximum is not None and 0 < maximum < 1 << 16 else None


def _stated_maximum(content: bytes) -> int | None:
    if content.startswith(b"\x89PNG"):
        chunk = content.find(b"sBIT", 0, content.find(b"IDAT"))
        length = int.from_bytes(content[chunk - 4 : chunk], "big") if chunk >= 0 else 0
        has_alpha = length in (2, 4)
        bits = content[chunk + 4 : chunk + 4 + length - has_alpha]
        return (1 << max(bits)) - 1 if bits else None
    if header := PNM_HEADER.match(content):
        return int(header[1])
    if content.startswith((b"II*\0", b"MM\0*")):
        try:
            values = Image.open(BytesIO(content)).tag_v2.get(MAX_SAMPLE_VALUE)  # type: ignore[attr-defined]
        except (ValueError, *PILLOW_ERRORS):
            return None
        return max(values) if values else None
    return None


def is_truncated_jpeg(content: bytes) -> bool:
    """Tell whether a JPEG file is truncated.

    OpenCV decodes such a file without an error and fills the missing rows with gray.
    """
    if not is_jpeg(content):
        return False
    # Neither marker can occur inside coded pixels, and an embedded thumbnail precedes the picture's
    # own scans: a complete file has its end marker after the start of the last scan.
    if content.rfind(b"\xff\xd9") > content.rfind(b"\xff\xda"):
        return False
    # Data appended after the picture may look like a scan, so only a full decode decides.
    try:
        with JpegImageFile(BytesIO(content)) as picture:
            picture.load()
    except PILLOW_ERRORS:
        return True
    return False
