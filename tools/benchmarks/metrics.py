"""`LabelSetMetric` on as many images as the test sets of COCO and NUS-WIDE have.

The metric stores a record of each batch (`process`), then scores all images (`compute_metrics`).
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from mmorderless.metrics.label_set_metric import LabelSetMetric

from .label_counts import SIZE, label_counts
from .memory import peak_memory
from .plain_metrics import plain_scores
from .report import Row
from .settings import Settings
from .timing import alternate

NUM_IMAGES, NUM_CLASSES = 40_137, 80
MANY_IMAGES, MANY_CLASSES = 107_859, 5_018
"""Test images and tags of NUS-WIDE."""
BATCH = 32
MAX_SECONDS, MAX_MEGABYTES = 1, 1_000
CPU = torch.device("cpu")


def run(settings: Settings) -> list[Row]:
    """Measure the metric."""
    return few_classes(settings) + many_classes(settings)


def few_classes(settings: Settings) -> list[Row]:
    """Measure at COCO's size, next to the baseline."""
    num_images = 200 if settings.quick else NUM_IMAGES
    samples = random_predictions(num_images, NUM_CLASSES)
    metric = processed(samples, NUM_CLASSES)
    fields = ("pred_label", "gt_label", "sequence")
    lists = [[sample[field].tolist() for sample in samples] for field in fields]
    matrix = np.stack([sample["pred_score"].numpy() for sample in samples])

    def score(metric: LabelSetMetric = metric) -> dict[str, float]:
        return metric.compute_metrics(metric.results)

    def score_plainly() -> dict[str, float]:
        return plain_scores(*lists, matrix)

    check_scores(score(), score_plainly())
    calls: dict[str, Callable] = {
        "score": score,
        "plain": score_plainly,
        "store": lambda: processed(samples, NUM_CLASSES),
        "both": lambda: score(processed(samples, NUM_CLASSES)),
    }
    times = alternate(calls, settings.repeats)
    seconds = {name: [sample / 1000 for sample in values] for name, values in times.items()}
    memory = peak_memory(
        f"{__name__}:one_evaluation", CPU, num_images=num_images, num_classes=NUM_CLASSES
    )
    shape = {"N": num_images, "C": NUM_CLASSES}
    return [
        Row("metric: scoring", shape, "s", seconds["score"], seconds["plain"]),
        Row("metric: storing", shape, "s", seconds["store"]),
        Row("metric: storing and scoring", shape, "s", seconds["both"], at_most=MAX_SECONDS),
        Row("metric: peak memory", shape, "MB", memory),
    ]


def many_classes(settings: Settings) -> list[Row]:
    """Measure at a size at which a dense matrix of scores takes 2 GB."""
    num_images = 100 if settings.quick else MANY_IMAGES
    storing, scoring = [], []
    for _ in range(min(settings.repeats, 3)):
        metric, seconds = stored_from_stream(num_images, MANY_CLASSES)
        storing.append(seconds)
        start = time.perf_counter()
        metric.compute_metrics(metric.results)
        scoring.append(time.perf_counter() - start)
    memory = peak_memory(
        f"{__name__}:one_stream", CPU, num_images=num_images, num_classes=MANY_CLASSES
    )
    shape = {"N": num_images, "C": MANY_CLASSES, "top-k": metric.score_topk}
    return [
        Row("metric: scoring", shape, "s", scoring),
        Row("metric: storing", shape, "s", storing),
        Row("metric: peak memory", shape, "MB", memory, at_most=MAX_MEGABYTES),
    ]


def random_predictions(num_images: int, num_classes: int) -> list[dict[str, Any]]:
    """Draw predictions: about half of the labels are right, a few are emitted twice.

    Args:
        num_images: N.
        num_classes: C.
    """
    generator = np.random.default_rng(0)
    table = label_counts(SIZE)
    samples = []
    for i in range(num_images):
        n = table[i % len(table)]
        labels = generator.permutation(num_classes)[: n + n // 2 + 1]
        truth, emitted = np.sort(labels[:n]), labels[n // 2 :]
        scores = generator.random(num_classes, dtype=np.float32) / 2
        scores[emitted] += 0.5
        sequence = emitted if i % 50 else np.append(emitted, emitted[0])
        samples.append(
            {
                "pred_label": torch.from_numpy(emitted),
                "gt_label": torch.from_numpy(truth),
                "pred_score": torch.from_numpy(scores),
                "sequence": torch.from_numpy(sequence),
            }
        )
    return samples


def processed(samples: Sequence[dict[str, Any]], num_classes: int) -> LabelSetMetric:
    """Return a metric that has processed the samples in batches."""
    metric = LabelSetMetric(num_classes)
    for start in range(0, len(samples), BATCH):
        metric.process({}, samples[start : start + BATCH])
    return metric


def check_scores(ours: dict[str, float], baseline: dict[str, float]) -> None:
    """Check that the metric's scores equal the baseline's.

    Raises:
        AssertionError: a score differs.
    """
    for name, expected in baseline.items():
        assert np.isclose(ours[name], expected, rtol=1e-9), f"{name}: {ours[name]} and {expected}"


def stored_from_stream(num_images: int, num_classes: int) -> tuple[LabelSetMetric, float]:
    """Return a metric that has processed a stream of images, and the seconds that this took."""
    metric = LabelSetMetric(num_classes)
    seconds = 0.0
    for batch in stream(num_images, num_classes):
        start = time.perf_counter()
        metric.process({}, batch)
        seconds += time.perf_counter() - start
    return metric, seconds


def stream(num_images: int, num_classes: int) -> Iterator[list[dict[str, Any]]]:
    """Yield batches of predictions: the same few images repeatedly, each time with other scores."""
    samples = random_predictions(min(num_images, SIZE), num_classes)
    for start in range(0, num_images, BATCH):
        factor = 1 - start / (2 * num_images)  # so that scores of different rounds do not tie
        batch = [samples[i % len(samples)] for i in range(start, min(start + BATCH, num_images))]
        yield [{**sample, "pred_score": factor * sample["pred_score"]} for sample in batch]


def one_evaluation(device: torch.device, num_images: int, num_classes: int) -> Callable:
    """Return a call for `peak_memory` that stores and scores."""
    samples = random_predictions(num_images, num_classes)

    def evaluate() -> None:
        metric = processed(samples, num_classes)
        metric.compute_metrics(metric.results)

    return evaluate


def one_stream(device: torch.device, num_images: int, num_classes: int) -> Callable:
    """Return a call for `peak_memory` that stores and scores many classes."""

    def evaluate() -> None:
        metric, _ = stored_from_stream(num_images, num_classes)
        metric.compute_metrics(metric.results)

    return evaluate
