"""Crop an image to the box that its dataset gives."""

import math
from collections.abc import Sequence

from mmcv.transforms import BaseTransform
from mmpretrain.registry import TRANSFORMS


def clip_box(
    box: Sequence[float], height: float = math.inf, width: float = math.inf
) -> tuple[float, float, float, float] | None:
    """Clip a box to its image.

    Args:
        box: left, top, right, bottom in pixels.
        height: height of the image in pixels; infinite if it is not known.
        width: width of the image in pixels; infinite if it is not known.

    Returns:
        The clipped box, or None if it has no area.

    >>> clip_box((-5, 2, 10, 30), height=20, width=20)
    (0.0, 2, 10, 20.0)
    """
    left, top, right, bottom = box
    left, right = max(left, 0.0), min(right, float(width))
    top, bottom = max(top, 0.0), min(bottom, float(height))
    return (left, top, right, bottom) if left < right and top < bottom else None


@TRANSFORMS.register_module()
class CropBox(BaseTransform):
    """Crop an image to the pixels that `box` touches, without a margin.

    Reads `img` (H × W or H × W × 3) and `box` (left, top, right, bottom in pixels of `img`, which
    may be fractions and may exceed the image); replaces `img` and sets `img_shape`, (H, W) of the
    crop. Belongs directly after the loading of the image.

    Raises:
        ValueError: there is no box, or it does not touch the image.
    """

    def transform(self, results: dict) -> dict:
        """Replace the image by the crop."""
        if "box" not in results:
            raise ValueError(
                f"{results.get('img_path', 'the image')} has no box to crop; remove CropBox from "
                "the pipeline of a dataset without boxes"
            )
        height, width = results["img"].shape[:2]
        box = clip_box(results["box"], height, width)
        if box is None:
            raise ValueError(
                f"box {tuple(results['box'])} of {results['img_path']} does not touch the image of "
                f"{width}×{height} pixels; check that images and annotation belong together"
            )
        left, top = (math.floor(x) for x in box[:2])
        right, bottom = (math.ceil(x) for x in box[2:])
        results["img"] = results["img"][top:bottom, left:right]
        results["img_shape"] = results["img"].shape[:2]
        return results
