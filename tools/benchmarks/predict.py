"""Prediction: decoder and post-processing of a batch, and a folder of photos to results.

In the folder, every image gets 3 labels. Time outside the model is time outside `test_step`:
reading, preparing and collating images that were not ready in time, and writing results.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmorderless.inference.inferencer import OrderlessInferencer
from mmorderless.inference.predictions import predictions_json
from mmorderless.models.decoding.emission import read_rollout
from mmorderless.models.heads.data_samples import write_samples

from .batches import force_end_of_all_after
from .decoder import QUICK, DecoderBatch, Sizes
from .label_counts import label_counts
from .models import build_model, config_of
from .photos import HEIGHT, WIDTH, write_photos
from .plain_emission import plain_predictions
from .report import Row
from .settings import Settings
from .timing import alternate

NUM_PHOTOS = 64
NUM_LABELS = 3
WORKERS = (0, 2)


def run(settings: Settings) -> list[Row]:
    """Measure prediction."""
    return decode_and_read(settings) + folder(settings)


@torch.no_grad()
def decode_and_read(settings: Settings) -> list[Row]:
    """Measure the decoder with its post-processing, and the post-processing alone."""
    sizes = QUICK if settings.quick else Sizes()
    sizes = replace(sizes, batch=settings.batch or sizes.batch)
    counts = label_counts(sizes.batch)
    batch = DecoderBatch(sizes, counts, settings).for_prediction()
    grid = batch.features.transpose(1, 2)

    def decode() -> tuple[Tensor, Tensor]:
        with settings.autocast():
            rollout = batch.decoder.rollout(grid, sizes.max_steps, until_end=True)
        return rollout.logits, rollout.tokens

    def decode_plainly() -> tuple[Tensor, Tensor]:
        with settings.autocast():
            return batch.plain.rollout(grid, sizes.max_steps)

    def read(logits: Tensor, tokens: Tensor) -> list:
        return write_samples(read_rollout(logits, tokens), None, None)

    decoded = decode()
    check_predictions(read(*decoded), plain_predictions(*decoded))
    samples = alternate(
        {
            "ours": lambda: read(*decode()),
            "plain": lambda: plain_predictions(*decode_plainly()),
            "ours read": lambda: read(*decoded),
            "plain read": lambda: plain_predictions(*decoded),
        },
        settings.repeats,
    )
    each = {name: [sample / sizes.batch for sample in times] for name, times in samples.items()}
    shape = {**sizes.letters(), "T": max(counts) + 1}
    return [
        Row("decoder and post-processing", shape, "ms/image", each["ours"], each["plain"]),
        Row("post-processing", shape, "ms/image", each["ours read"], each["plain read"]),
    ]


def check_predictions(ours: list, baseline: list[dict[str, Tensor]]) -> None:
    """Check that data samples equal the baseline's predictions from the same logits.

    Raises:
        AssertionError: a field differs.
    """
    for sample, expected in zip(ours, baseline, strict=True):
        for name, values in expected.items():
            torch.testing.assert_close(sample.get(name), values)


def folder(settings: Settings) -> list[Row]:
    """Measure a folder of photos, from files to the text of predictions.json."""
    cfg, side = config_of(settings)
    model = build_model(cfg, settings)
    model._config = cfg
    force_end_of_all_after(model.head.decoder, NUM_LABELS)
    batch = settings.batch or (2 if settings.quick else 16)
    number = 4 if settings.quick else NUM_PHOTOS
    rows = []
    with tempfile.TemporaryDirectory() as root:
        write_photos(Path(root), number)
        for workers in WORKERS:
            inferencer = OrderlessInferencer(
                model,
                device=settings.device,
                classes=[f"class {c}" for c in range(cfg.model.head.num_classes)],
                batch_size=batch,
                num_workers=workers,
            )
            rates, waits = [], []
            for _ in range(settings.repeats):
                total, busy = _predict(inferencer, root, settings)
                rates.append(number / total)
                waits.append(100 * (total - busy) / total)
            shape = {
                "B": batch,
                "photos": f"{number} of {WIDTH}×{HEIGHT}",
                "image": f"{side}×{side}",
                "workers": workers,
            }
            rows += [
                Row("folder of photos", shape, "images/s", rates),
                Row("folder of photos: time outside the model", shape, "%", waits),
            ]
    return rows


def _predict(
    inferencer: OrderlessInferencer, folder: str, settings: Settings
) -> tuple[float, float]:
    """Predict a folder; return the seconds in total and within the model."""
    model, busy = inferencer.model, 0.0
    own: Callable[..., Any] = type(model).test_step

    def test_step(data: Any) -> Any:
        nonlocal busy
        start = time.perf_counter()
        with settings.autocast():
            samples = own(model, data)  # ends with a copy to the host, which waits for the device
        busy += time.perf_counter() - start
        return samples

    model.test_step = test_step
    start = time.perf_counter()
    predictions_json(inferencer(folder, progress=False), inferencer.classes, "none")
    return time.perf_counter() - start, busy
