"""Cut the box that a dataset names out of its image."""

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
        height: of the image in pixels; infinite where it is not known.
        width: of the image in pixels; infinite where it is not known.

    Returns:
        The part inside the image, or None where it has no area.
    """
    left, top, right, bottom = box
    left, right = max(left, 0.0), min(right, float(width))
    top, bottom = max(top, 0.0), min(bottom, float(height))
    return (left, top, right, bottom) if left < right and top < bottom else None


@TRANSFORMS.register_module()
class CropBox(BaseTransform):
    """Cut out the pixels that `box` touches, without a margin.

    Reads `img` (H × W or H × W × 3) and `box` (left, top, right, bottom in pixels of `img`, which
    may be fractions and may leave the image); replaces `img` and sets `img_shape`, (H, W) of the
    crop. Belongs directly behind the loading of the image.

    Raises:
        ValueError: there is no box, or it does not touch the image.
    """

    def transform(self, results: dict) -> dict:
        """Replace the image by the part inside the box."""
        if "box" not in results:
            raise ValueError(
                f"{results.get('img_path', 'the image')} comes without a box to crop; remove "
                "CropBox from the pipeline of a dataset without boxes"
            )
        height, width = results["img"].shape[:2]
        box = clip_box(results["box"], height, width)
        if box is None:
            raise ValueError(
                f"box {tuple(results['box'])} of {results['img_path']} does not touch the image of "
                f"{width}×{height} pixels; check that images and annotation belong together"
            )
        left, top, right, bottom = (
            math.floor(box[0]),
            math.floor(box[1]),
            math.ceil(box[2]),
            math.ceil(box[3]),
        )
        results["img"] = results["img"][top:bottom, left:right]
        results["img_shape"] = results["img"].shape[:2]
        return results
