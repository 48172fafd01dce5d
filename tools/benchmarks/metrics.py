"""`LabelSetMetric` on predictions of as many images as COCO's and NUS-WIDE's test sets have.

The metric first stores what it needs of each batch (`process`), then scores all images
(`compute_metrics`).
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
from .report import Row, Target
from .settings import Settings
from .timing import alternate

NUM_IMAGES, NUM_CLASSES = 40_137, 80
MANY_IMAGES, MANY_CLASSES = 107_859, 5_018
"""NUS-WIDE's test images, and every tag of it."""
BATCH = 32
MOST_SECONDS, MOST_MEGABYTES = 1, 1_000
CPU = torch.device("cpu")


def run(settings: Settings) -> list[Row]:
    """Measure the metric."""
    return few_classes(settings) + many_classes(settings)


def few_classes(settings: Settings) -> list[Row]:
    """Measure COCO's size beside the reference."""
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
    times = alternate(calls, CPU, settings.repeats)
    seconds = {name: [sample / 1000 for sample in values] for name, values in times.items()}
    memory = peak_memory(
        f"{__name__}:one_evaluation", CPU, num_images=num_images, num_classes=NUM_CLASSES
    )
    shape = {"N": num_images, "C": NUM_CLASSES}
    target = Target(MOST_SECONDS, "value")
    return [
        Row("metric: scoring", shape, "s", seconds["score"], seconds["plain"]),
        Row("metric: storing", shape, "s", seconds["store"]),
        Row("metric: storing and scoring", shape, "s", seconds["both"], target=target),
        Row("metric: peak memory", shape, "MB", memory),
    ]


def many_classes(settings: Settings) -> list[Row]:
    """Measure a size at which a dense matrix of scores takes 2 GB."""
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
        Row("metric: peak memory", shape, "MB", memory, target=Target(MOST_MEGABYTES, "value")),
    ]


def random_predictions(num_images: int, num_classes: int) -> list[dict[str, Any]]:
    """Predictions as a head gives them: about half of the labels right, a few emitted twice.

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
    """A metric that has seen the samples, in batches as they come from a dataloader."""
    metric = LabelSetMetric(num_classes)
    for start in range(0, len(samples), BATCH):
        metric.process({}, samples[start : start + BATCH])
    return metric


def check_scores(ours: dict[str, float], reference: dict[str, float]) -> None:
    """Check that the metric gives what the reference counts.

    Raises:
        AssertionError: it does not.
    """
    for name, expected in reference.items():
        assert np.isclose(ours[name], expected, rtol=1e-9), f"{name}: {ours[name]} and {expected}"


def stored_from_stream(num_images: int, num_classes: int) -> tuple[LabelSetMetric, float]:
    """A metric that has seen images whose scores were never all in memory, and its seconds."""
    metric = LabelSetMetric(num_classes)
    seconds = 0.0
    for batch in stream(num_images, num_classes):
        start = time.perf_counter()
        metric.process({}, batch)
        seconds += time.perf_counter() - start
    return metric, seconds


def stream(num_images: int, num_classes: int) -> Iterator[list[dict[str, Any]]]:
    """Batches of predictions: the same few images over and over, with scores of their own."""
    samples = random_predictions(min(num_images, SIZE), num_classes)
    for start in range(0, num_images, BATCH):
        factor = 1 - start / (2 * num_images)  # so that scores of different rounds do not tie
        batch = [samples[i % len(samples)] for i in range(start, min(start + BATCH, num_images))]
        yield [{**sample, "pred_score": factor * sample["pred_score"]} for sample in batch]


def one_evaluation(device: torch.device, num_images: int, num_classes: int) -> Callable:
    """What `peak_memory` measures: storing and scoring."""
    samples = random_predictions(num_images, num_classes)

    def evaluate() -> None:
        metric = processed(samples, num_classes)
        metric.compute_metrics(metric.results)

    return evaluate


def one_stream(device: torch.device, num_images: int, num_classes: int) -> Callable:
    """What `peak_memory` measures: storing and scoring many classes."""

    def evaluate() -> None:
        metric, _ = stored_from_stream(num_images, num_classes)
        metric.compute_metrics(metric.results)

    return evaluate
