"""Growth of the parts' cost with images of a batch, labels of an image, classes and steps.

One of these changes; the others stay at B = 32, the table's label counts and C = 80. There is no
baseline here.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch

from mmorderless.alignment.targets import min_loss_targets, predicted_label_targets
from mmorderless.models.decoding.emission import read_rollout
from mmorderless.models.heads.data_samples import write_samples

from .alignment import make_batch
from .decoder import QUICK, DecoderBatch, Sizes
from .label_counts import label_counts
from .metrics import processed, random_predictions
from .report import Row
from .settings import Settings
from .timing import alternate

BATCHES = (16, 64, 256, 1024)
LABELS = (1, 2, 3, 5, 10, 18, 50, 100)
CLASSES = (80, 1_000, 10_000)
STEPS = (5, 10, 20, 50, 100)
ENOUGH_CLASSES = 200
"""C of the rows whose images have more labels than 80 classes allow."""
SCORED_IMAGES = 2_000


def run(settings: Settings) -> list[Row]:
    """Measure along each axis."""
    sizes = QUICK if settings.quick else Sizes()
    sizes = replace(sizes, batch=settings.batch or sizes.batch)
    settings = replace(settings, repeats=min(settings.repeats, 3))
    rows = []
    for batch in _points(BATCHES, settings):
        rows += _grow(replace(sizes, batch=batch), label_counts(batch), "B", settings)
    for n in _points(LABELS, settings):
        classes = ENOUGH_CLASSES if n > sizes.classes / 2 else sizes.classes
        counts = [n] * sizes.batch
        rows += _grow(replace(sizes, classes=classes), counts, "labels", settings)
    table = label_counts(sizes.batch)
    for classes in _points(CLASSES, settings):
        rows += _grow(replace(sizes, classes=classes), table, "C", settings)
        rows.append(_score(classes, settings))
    for steps in _points(STEPS, settings):
        # One image needs all steps; the others have the table's label counts, as far as they fit.
        counts = [steps - 1, *(min(n, steps - 1) for n in table[1:])]
        enough = replace(sizes, classes=max(sizes.classes, ENOUGH_CLASSES))
        rows += _grow(enough, counts, "T", settings)
    parts = list(dict.fromkeys(row.what for row in rows))
    return sorted(rows, key=lambda row: parts.index(row.what))  # each part's rows together


def _points(values: Sequence[int], settings: Settings) -> Sequence[int]:
    """Return all values, or two of them in a quick run."""
    return (values[0], values[2]) if settings.quick else values


@torch.no_grad()
def _grow(sizes: Sizes, counts: Sequence[int], axis: str, settings: Settings) -> list[Row]:
    """Measure alignment, decoder and post-processing at one point of an axis."""
    num_steps = max(counts) + 1
    sizes = replace(sizes, max_steps=num_steps)
    logits, labels = make_batch(settings, counts, sizes.classes)
    training = DecoderBatch(sizes, counts, settings).for_training()
    prediction = DecoderBatch(sizes, counts, settings).for_prediction()
    grid = prediction.features.transpose(1, 2)
    rollout = prediction.decoder.rollout(grid, num_steps, until_end=True)

    def train() -> None:
        with torch.enable_grad():
            training.train_ours()

    times = alternate(
        {
            "MLA alignment": lambda: min_loss_targets(logits, labels),
            "PLA alignment": lambda: predicted_label_targets(logits, labels),
            "decoder, training": train,
            "decoder, prediction": prediction.predict_ours,
            "post-processing": lambda: write_samples(
                read_rollout(rollout.logits, rollout.tokens), None, None
            ),
        },
        settings.repeats,
    )
    mean = sum(counts) / len(counts)
    setting = {
        "grows": axis,
        "B": len(counts),
        "labels": f"{mean:.3g}",
        "C": sizes.classes,
        "T": num_steps,
    }
    return [
        Row(what, setting, "µs/image", [1000 * sample / len(counts) for sample in samples])
        for what, samples in times.items()
    ]


def _score(num_classes: int, settings: Settings) -> Row:
    """Measure the metric."""
    number = 100 if settings.quick else SCORED_IMAGES
    samples = random_predictions(number, num_classes)
    metric = processed(samples, num_classes)
    times = alternate(
        {"score": lambda: metric.compute_metrics(metric.results)},
        settings.repeats,
    )
    each = [1000 * sample / number for sample in times["score"]]
    setting = {"grows": "C", "N": number, "C": num_classes}
    return Row("all scores of the metric", setting, "µs/image", each)
