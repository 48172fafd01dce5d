"""From what a user names (a file, a folder, an array, a list of these) to single images."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

IMAGE_EXTENSIONS = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

Image = str | Path | np.ndarray
Images = Image | Sequence[Image]


def list_images(images: Images) -> list[str | np.ndarray]:
    """List single images.

    Args:
        images: a path of an image; a folder, searched with its subfolders for files with an image's
            extension; an array (H, W, 3), BGR as mmcv loads it; or a sequence of these.

    Returns:
        Paths (those of a folder sorted, beginning with the folder as given) and arrays. A path that
        does not exist is kept: reading it is what fails.

    Raises:
        ValueError: a folder holds no image, an array has another shape, or there is nothing at all.
        TypeError: something else is given.
    """
    listed: list[str | np.ndarray] = []
    for image in images if isinstance(images, list | tuple) else [images]:
        if isinstance(image, np.ndarray):
            if image.ndim != 3 or image.shape[2] != 3:
                raise ValueError(
                    f"an image array must have shape (H, W, 3), BGR; got {image.shape}; "
                    "give several arrays as a list"
                )
            if image.dtype != np.uint8 or image.size == 0:
                raise ValueError(
                    f"an image array must hold uint8 values 0 … 255, got {image.dtype} of shape "
                    f"{image.shape}; scale and convert it, as (255 * image).astype('uint8')"
                )
            listed.append(image)
        elif isinstance(image, str | Path):
            listed.extend(_files_of(image) if os.path.isdir(image) else [os.fspath(image)])
        else:
            raise TypeError(f"an image is a path or an array, got {type(image).__name__}")
    if not listed:
        raise ValueError("there are no images: give files, folders or arrays")
    return listed


def _files_of(folder: str | Path) -> list[str]:
    files = sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if name.lower().endswith(IMAGE_EXTENSIONS)
    )
    if not files:
        raise ValueError(
            f"the folder {folder} holds no image ({', '.join(IMAGE_EXTENSIONS)}); give another"
        )
    return files
