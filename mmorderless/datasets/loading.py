"""Load an image, or say which file is missing or damaged."""

import cv2
import mmcv
import mmengine.fileio as fileio
from mmcv.transforms import LoadImageFromFile
from mmpretrain.registry import TRANSFORMS

from .checks import is_truncated_jpeg


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """mmcv's `LoadImageFromFile` with errors that name the file and the remedy.

    mmcv reports a file that cannot be decoded by an assertion or by OpenCV's internals, and with
    OpenCV 4 a JPEG that breaks off half-way passes as a half-grey picture. The file is read once
    and the check of its end costs microseconds.

    Reads `img_path`; adds `img` (uint8, H × W × 3 in BGR, or H × W), `img_shape` and `ori_shape`,
    both (H, W) in pixels.

    Args:
        color_type: 'color', 'grayscale' or another flag of `mmcv.imfrombytes`.
        imdecode_backend: 'cv2', 'pillow' or another backend of `mmcv.imfrombytes`.
        ignore_empty: return None instead of raising; a training dataset then draws another image.
        backend_args: storage backend of `mmengine.fileio`.

    Raises:
        FileNotFoundError: the image is not there.
        ValueError: the file is not an image, or is truncated.
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
    ) -> None:
        super().__init__(
            color_type=color_type,
            imdecode_backend=imdecode_backend,
            ignore_empty=ignore_empty,
            backend_args=backend_args,
        )

    def transform(self, results: dict) -> dict | None:
        """Add the image to the results; None when it cannot be read and `ignore_empty` is set."""
        path = results["img_path"]
        try:
            content = self._read(path)
            img = self._decode(content, path)
        except (FileNotFoundError, ValueError):
            if self.ignore_empty:
                return None
            raise
        results["img"] = img
        results["img_shape"] = results["ori_shape"] = img.shape[:2]
        return results

    def _read(self, path: str) -> bytes:
        try:
            return fileio.get(path, backend_args=self.backend_args)
        except FileNotFoundError:
            raise FileNotFoundError(f"image {path} does not exist; {self.missing_remedy}") from None

    def _decode(self, content: bytes, path: str):
        if is_truncated_jpeg(content):
            img = None
        else:
            try:
                img = mmcv.imfrombytes(content, flag=self.color_type, backend=self.imdecode_backend)
            except (cv2.error, OSError):  # OpenCV on an empty file; Pillow on any damage
                img = None
        if img is None:
            raise ValueError(
                f"image {path} ({len(content)} bytes) is truncated or not an image; "
                f"{self.damaged_remedy}"
            )
        return img
