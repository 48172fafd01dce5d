"""Load an image, with errors that name a missing or damaged file."""

import logging

import cv2
import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmcv.image.io import imread_flags
from mmcv.transforms import LoadImageFromFile
from mmengine.logging import print_log
from mmpretrain.registry import TRANSFORMS
from PIL import Image

from mmorderless.datasets.image_headers import (
    MAX_PIXELS,
    PILLOW_ERRORS,
    is_jpeg,
    is_truncated_jpeg,
    may_be_deep,
    stored_maximum,
    stored_size,
)
from mmorderless.datasets.text_files import READ_ERRORS, reason_of

# Divisors by which libjpeg can reduce the sides while it decodes, and OpenCV's flags for them.
REDUCED_FLAGS = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's `LoadImageFromFile` with errors that name the file and the remedy.

    mmcv reports a file that cannot be decoded by an assertion or an internal error of OpenCV, and
    OpenCV loads a truncated JPEG as a half-gray picture. The file is read once; checking its header
    and its end costs microseconds.

    A picture of more than `MAX_PIXELS` is not decoded. If the header says that the samples of a
    16-bit file have fewer bits, OpenCV's result is scaled by them; a file that loads nearly black
    without saying so is logged once per process. Results that already have an `img` are
    passed on, so that mmpretrain's inferencers, which read images themselves, can run a config's
    pipeline.

    With `min_side`, a JPEG is decoded at 1/2, 1/4 or 1/8 of its size, the smallest at which both
    sides still have that many pixels; each pixel is nearly the average of those that it replaces.
    A 640×480 photo then takes a fifth less time and one of 12 megapixels less than half. Other
    formats are decoded in full.

    Reads `img_path`; adds `img` (uint8, H × W × 3 in BGR, or H × W), `img_shape`, (H, W) of `img`
    in pixels, and `ori_shape`, (H, W) of the upright picture in the file.

    Args:
        color_type: 'color', 'grayscale' or another flag of `mmcv.imfrombytes`.
        imdecode_backend: 'cv2', 'pillow' or another backend of `mmcv.imfrombytes`.
        ignore_empty: return None instead of raising; a training dataset then draws another image.
        backend_args: storage backend of `mmengine.fileio`.
        min_side: minimum side in pixels after decoding, usually the larger side of the `Resize`
            that follows; None decodes in full. Needs the backend 'cv2'.

    Raises:
        FileNotFoundError: the image does not exist.
        OSError: it cannot be read.
        ValueError: the file is not an image, is truncated or has too many pixels; `min_side` is
            given and the image has a `box`, which is in pixels of the full picture; or `min_side`
            contradicts the other options.
    """

    missing_remedy = (
        "check data_root and data_prefix, remove the image from the annotation file, or give the "
        "dataset drop_missing=True"
    )
    damaged_remedy = "copy or download it again, or remove it from the annotation file"
    _warned_of_depth = False  # of the class, so that a process logs it once

    def __init__(
        self,
        color_type: str = "color",
        imdecode_backend: str = "cv2",
        ignore_empty: bool = False,
        backend_args: dict | None = None,
        min_side: int | None = None,
    ) -> None:
        super().__init__(
            color_type=color_type,
            imdecode_backend=imdecode_backend,
            ignore_empty=ignore_empty,
            backend_args=backend_args,
        )
        if min_side is not None:
            if min_side < 1:
                raise ValueError(f"min_side must be at least 1 pixel, got {min_side}")
            if imdecode_backend != "cv2" or color_type == "unchanged":
                raise ValueError(
                    f"min_side={min_side} needs imdecode_backend='cv2' and a color_type other than "
                    f"'unchanged', got {imdecode_backend!r} and {color_type!r}; remove min_side"
                )
        self.min_side = min_side

    def transform(self, results: dict) -> dict | None:
        """Add the image to the results; None if it is unreadable and `ignore_empty` is set."""
        if "img" in results:
            size = results["img"].shape[:2]
            return {"img_shape": size, "ori_shape": size, **results}
        path = results["img_path"]
        if self.min_side is not None and "box" in results:
            raise ValueError(
                f"{path} has a box in pixels of the full picture, but LoadImage has "
                f"min_side={self.min_side}; remove min_side from the pipeline"
            )
        try:
            img, results["ori_shape"] = self.decode(self._read(path), path)
        except (OSError, ValueError):
            if self.ignore_empty:
                return None
            raise
        results["img"] = img
        results["img_shape"] = img.shape[:2]
        return results

    def _read(self, path: str) -> bytes:
        try:
            return fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError:
            raise FileNotFoundError(f"image {path} does not exist; {self.missing_remedy}") from None
        except READ_ERRORS as error:
            raise OSError(
                f"image {path!r} cannot be read: {reason_of(error)}; {self.missing_remedy}"
            ) from None

    def decode(self, content: bytes, path: str) -> tuple[np.ndarray, tuple[int, int]]:
        """Decode an image file.

        Args:
            content: the file's bytes.
            path: what messages call it.

        Returns:
            The image and its full (H, W).

        Raises:
            ValueError: the file is not an image, is truncated or has too many pixels.
        """
        size = self._size_of(content, path)
        flag: str | int = self.color_type
        divisor = 1
        if self.min_side is not None and size is not None and is_jpeg(content):
            divisor = largest_divisor(size, self.min_side)
            if divisor > 1:
                flag = imread_flags[self.color_type] | REDUCED_FLAGS[divisor]
        img = None if is_truncated_jpeg(content) else self._pixels(content, flag)
        if self.imdecode_backend == "cv2" and self.color_type != "unchanged":
            img = self._scale_depth(img, content, path)
        if img is None:
            raise ValueError(
                f"image {path} ({len(content)} bytes) is truncated or not an image; "
                f"{self.damaged_remedy}"
            )
        shape = img.shape[:2]
        if divisor == 1 or size is None:
            return img, shape
        # The header's size is as stored; OpenCV has rotated the picture by its EXIF orientation.
        return img, size if shape == divide_sides(size, divisor) else size[::-1]

    def _size_of(self, content: bytes, path: str) -> tuple[int, int] | None:
        """Return (H, W) as stored, or raise a ValueError if the image is too large to decode."""
        try:
            return stored_size(content)
        except Image.DecompressionBombError:
            raise ValueError(
                f"image {path} ({len(content)} bytes) has more than {MAX_PIXELS:,} pixels by its "
                f"header, so it is not decoded; scale it down, or {self.damaged_remedy}"
            ) from None

    def _pixels(self, content: bytes, flag: str | int) -> np.ndarray | None:
        """Return the decoded pixels; None if the file is damaged."""
        try:
            return mmcv.imfrombytes(content, flag=flag, backend=self.imdecode_backend)
        except (cv2.error, *PILLOW_ERRORS):
            return None

    def _scale_depth(self, img: np.ndarray | None, content: bytes, path: str) -> np.ndarray | None:
        """Scale samples of 9 to 15 bits in a file of 16 bits, which OpenCV divides by 256."""
        if not may_be_deep(content) or (img is not None and img.max(initial=0) >= 1 << 15 - 8):
            return img
        deep = self._pixels(content, imread_flags[self.color_type] | cv2.IMREAD_ANYDEPTH)
        if deep is None or deep.dtype != np.uint16:
            return img
        maximum = stored_maximum(content)
        if maximum is not None and deep.max() <= maximum:
            return np.uint8(deep * (255 / maximum))
        if img is not None and 0 < deep.max() < 1 << 12 and not self._warned_of_depth:
            LoadImage._warned_of_depth = True
            print_log(
                f"image {path} has 16 bits per sample but no value above {deep.max()}, so it loads "
                "nearly black; save such images with 8 bits, or scaled to 16 bits",
                logger="current",
                level=logging.WARNING,
            )
        return np.uint8(deep >> 8) if img is None else img


def largest_divisor(size: tuple[int, int], min_side: int) -> int:
    """Return the largest of 8, 4, 2, 1 that leaves both sides at least min_side pixels."""
    fits = (divisor for divisor in REDUCED_FLAGS if min(divide_sides(size, divisor)) >= min_side)
    return next(fits, 1)


def divide_sides(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    """Divide the sides of a picture and round up, as libjpeg does."""
    return -(-size[0] // divisor), -(-size[1] // divisor)
