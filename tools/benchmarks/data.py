"""The training pipeline of COCO on photos of COCO's size, in one process: the rate of one worker.

The baseline decodes every photo in full with OpenCV, resizes, flips and packs it. In addition,
`LoadImage(min_side=S)`, which decodes no larger than needed, is measured with a resize to S×S: it
can decode a photo of 640×480 at half the size for S = 224, not for S = 288.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import TRANSFORMS

from mmorderless.runs.config import read_config

from .models import CONFIGS
from .photos import HEIGHT, WIDTH, write_photos
from .report import Row
from .settings import Settings
from .timing import alternate

SIDE = 288
DECODED_FOR = (288, 224)
NUM_PHOTOS = 64


def run(settings: Settings) -> list[Row]:
    """Measure the pipeline as a whole and each of its steps."""
    init_default_scope("mmpretrain")
    cfg = read_config(str(CONFIGS / "_base_/datasets/coco.py"))
    names = [step.type.rpartition("/")[2] for step in cfg.train_pipeline]
    steps = [TRANSFORMS.build(step) for step in cfg.train_pipeline]
    number = 4 if settings.quick else NUM_PHOTOS
    threads = cv2.getNumThreads()
    cv2.setNumThreads(0)  # as the dataloaders' workers have it
    try:
        with tempfile.TemporaryDirectory() as root:
            paths = write_photos(Path(root), number)
            kilobytes = round(np.mean([Path(path).stat().st_size for path in paths]) / 1000)
            samples = alternate(
                {
                    "ours": lambda: [prepare(steps, path) for path in paths],
                    "plain": lambda: [pack(flip(read_plainly(path, SIDE))) for path in paths],
                },
                settings.repeats,
            )
            decoding = {side: decode(side, paths, settings) for side in DECODED_FOR}
            by_step = [time_steps(steps, paths) for _ in range(settings.repeats)]
    finally:
        cv2.setNumThreads(threads)
    shape = {"photos": f"{number} of {WIDTH}×{HEIGHT}, {kilobytes} kB", "image": f"{SIDE}×{SIDE}"}
    rates = {name: [1000 * number / sample for sample in times] for name, times in samples.items()}
    return [
        Row("train pipeline, one worker", shape, "images/s", rates["ours"], rates["plain"]),
        *(
            Row(f"step {name}", shape, "ms/image", [times[k] for times in by_step])
            for k, name in enumerate(names)
        ),
        *(
            Row(
                "decode and resize, against decoding in full",
                {**shape, "image": f"{side}×{side}"},
                "ms/image",
                *times,
            )
            for side, times in decoding.items()
        ),
    ]


def prepare(steps: Sequence[Any], path: str) -> dict:
    """Pass a photo through the pipeline."""
    results: dict = {"img_path": path, "gt_label": [0]}
    for step in steps:
        results = step(results)
    return results


def decode(side: int, paths: Sequence[str], settings: Settings) -> tuple[list[float], list[float]]:
    """Time decoding and resizing, in milliseconds per image: ours, and the baseline."""
    steps = [
        TRANSFORMS.build(dict(type="LoadImage", min_side=side)),
        TRANSFORMS.build(dict(type="Resize", scale=(side, side))),
    ]
    samples = alternate(
        {
            "ours": lambda: [prepare(steps, path) for path in paths],
            "plain": lambda: [read_plainly(path, side) for path in paths],
        },
        settings.repeats,
    )
    ours, plain = ([sample / len(paths) for sample in times] for times in samples.values())
    return ours, plain


def read_plainly(path: str, side: int) -> np.ndarray:
    """Decode a photo in full, then resize it: uint8, shape (side, side, 3)."""
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)


def flip(image: np.ndarray) -> np.ndarray:
    """Return the image or, with probability ½, its mirror image."""
    return cv2.flip(image, 1) if torch.rand(()) < 0.5 else image


def pack(image: np.ndarray) -> torch.Tensor:
    """Return the image as a tensor, shape (3, side, side)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def time_steps(steps: Sequence[Any], paths: Sequence[str]) -> list[float]:
    """Time each step, in milliseconds per image, averaged over the photos."""
    seconds = np.zeros(len(steps))
    for path in paths:
        results: dict = {"img_path": path, "gt_label": [0]}
        for k, step in enumerate(steps):
            start = time.perf_counter()
            results = step(results)
            seconds[k] += time.perf_counter() - start
    return (1000 * seconds / len(paths)).tolist()
