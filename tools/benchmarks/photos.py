"""JPEG files like COCO's photos: 640×480, quality 90, about 150 kB, smooth with some texture."""

from pathlib import Path

import cv2
import numpy as np

WIDTH, HEIGHT, QUALITY = 640, 480, 90
OCTAVES = ((6, 60.0), (40, 30.0), (160, 16.0), (640, 10.0))
"""Cells of the noise from left to right, and its standard deviation in gray levels."""


def write_photos(folder: Path, number: int) -> list[str]:
    """Draw random pictures and write them.

    Args:
        folder: existing folder to write to.
        number: of pictures.

    Returns:
        The paths.
    """
    generator = np.random.default_rng(0)
    paths = []
    for i in range(number):
        path = str(folder / f"{i:04}.jpg")
        cv2.imwrite(path, _draw(generator), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        paths.append(path)
    return paths


def _draw(generator: np.random.Generator) -> np.ndarray:
    """Draw a picture, uint8, shape (480, 640, 3)."""
    picture = np.full((HEIGHT, WIDTH, 3), 120.0, np.float32)
    for cells, deviation in OCTAVES:
        rows = max(2, cells * HEIGHT // WIDTH)
        noise = generator.normal(0, deviation, (rows, cells, 3)).astype(np.float32)
        picture += cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return picture.clip(0, 255).astype(np.uint8)
