"""Load an image, with errors that name a missing or damaged file."""

from io import BytesIO

import cv2
import mmcv
import mmengine.fileio as fileio
import numpy as np
from mmcv.image.io import imread_flags
from mmcv.transforms import LoadImageFromFile
from mmpretrain.registry import TRANSFORMS
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

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
    OpenCV 4 loads a truncated JPEG as a half-gray picture. The file is read once; checking its end
    costs microseconds.

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
        ValueError: the file is not an image or is truncated; `min_side` is given and the image has
            a `box`, which is in pixels of the full picture; or `min_side` contradicts the other
            options.
    """

    missing_remedy = (
        "check data_root and data_prefix, or remove the image from the annotation file (NusWide, "
        "MIRFlickr25k: set drop_missing=True)"
    )
    damaged_remedy = "copy or download it again, or remove it from the annotation file"

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
        path = results["img_path"]
        if self.min_side is not None and "box" in results:
            raise ValueError(
                f"{path} has a box in pixels of the full picture, but LoadImage has "
                f"min_side={self.min_side}; remove min_side from the pipeline"
            )
        try:
            content = self._read(path)
            img, results["ori_shape"] = self._decode(content, path)
        except (FileNotFoundError, ValueError):
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

    def _decode(self, content: bytes, path: str) -> tuple[np.ndarray, tuple[int, int]]:
        """Return the image and its full (H, W)."""
        flag: str | int = self.color_type
        size = None if self.min_side is None else jpeg_size(content)
        divisor = 1
        if self.min_side is not None and size is not None:
            divisor = largest_divisor(size, self.min_side)
            if divisor > 1:
                flag = imread_flags[self.color_type] | REDUCED_FLAGS[divisor]
        if is_truncated_jpeg(content):
            img = None
        else:
            try:
                img = mmcv.imfrombytes(content, flag=flag, backend=self.imdecode_backend)
            except (cv2.error, OSError):  # OpenCV on an empty file; Pillow on any damage
                img = None
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


def jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Read (H, W) as stored in the header of a JPEG file; None if it is no JPEG."""
    if not content.startswith(b"\xff\xd8\xff"):
        return None
    try:
        # Not Image.open, which warns about pictures beyond 89 megapixels.
        width, height = JpegImageFile(BytesIO(content)).size
    except (OSError, SyntaxError):  # what Pillow raises on a broken header
        return None
    return height, width


def largest_divisor(size: tuple[int, int], min_side: int) -> int:
    """Return the largest of 8, 4, 2, 1 that leaves both sides at least min_side pixels."""
    fits = (divisor for divisor in REDUCED_FLAGS if min(divide_sides(size, divisor)) >= min_side)
    return next(fits, 1)


def divide_sides(size: tuple[int, int], divisor: int) -> tuple[int, int]:
    """Divide the sides of a picture and round up, as libjpeg does."""
    return -(-size[0] // divisor), -(-size[1] // divisor)


def is_truncated_jpeg(content: bytes) -> bool:
    """Tell whether a JPEG file is truncated.

    OpenCV 4 decodes such a file without an error and fills the missing rows with gray.
    """
    if not content.startswith(b"\xff\xd8\xff"):
        return False
    # Neither marker can occur inside coded pixels, and an embedded thumbnail precedes the picture's
    # own scans: a complete file has its end marker after the start of the last scan.
    if content.rfind(b"\xff\xd9") > content.rfind(b"\xff\xda"):
        return False
    # Data appended after the picture may look like a scan, so only a full decode decides.
    try:
        with Image.open(BytesIO(content)) as picture:
            picture.load()
    except OSError:
        return True
    return False
