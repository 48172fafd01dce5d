from io import BytesIO

import cv2
import numpy as np
import pytest
from PIL import Image

from mmorderless.datasets.image_headers import is_truncated_jpeg, may_be_deep, stored_size


def jpeg(side=64, **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", **options)
    return file.getvalue()


def with_thumbnail() -> bytes:
    exif = b"Exif\0\0" + jpeg(8)
    content = jpeg()
    return content[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + content[2:]


@pytest.mark.parametrize("content", [jpeg(), jpeg(progressive=True), with_thumbnail()])
def test_jpeg_is_truncated_wherever_it_is_cut(content):
    assert not is_truncated_jpeg(content)
    assert not is_truncated_jpeg(content + b"appended \xff\xda data")
    for end in (len(content) - 2, len(content) - 40, len(content) // 2):
        assert is_truncated_jpeg(content[:end])


def test_other_formats_are_never_truncated():
    assert not is_truncated_jpeg(b"")
    assert not is_truncated_jpeg(b"\x89PNG")


def test_size_comes_from_the_header_alone():
    content = jpeg(24)
    assert stored_size(content) == (24, 24)
    end_of_header = content.rfind(b"\xff\xda") + 14  # that of the scan
    assert stored_size(content[:end_of_header]) == (24, 24)
    assert stored_size(b"\xff\xd8\xff") is None
    assert stored_size(b"") is None


def test_size_of_other_formats_and_too_large_ones():
    file = BytesIO()
    Image.new("L", (30, 20)).save(file, "BMP")
    content = file.getvalue()
    assert stored_size(content) == (20, 30)
    with pytest.raises(Image.DecompressionBombError):
        stored_size(content[:18] + (10**8).to_bytes(4, "little") + content[22:])  # the width


@pytest.mark.parametrize("extension", ["png", "bmp", "gif", "webp", "jpg"])
def test_files_of_8_bits_are_not_decoded_for_more(extension):
    file = BytesIO()
    Image.new("RGB", (8, 8)).save(file, {"jpg": "jpeg"}.get(extension, extension))
    assert not may_be_deep(file.getvalue())


@pytest.mark.parametrize("extension", [".png", ".tiff", ".pgm", ".jp2"])
def test_files_of_16_bits_may_be_deep(extension):
    assert may_be_deep(cv2.imencode(extension, np.zeros((64, 64), np.uint16))[1].tobytes())
