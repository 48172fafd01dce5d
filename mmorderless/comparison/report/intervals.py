"""Differences to a reference method, with bootstrap intervals over the test images.

An interval tells whether other test images of the same kind could reverse a difference; the
deviation over seeds in the other tables tells whether other trainings could.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mmorderless.comparison.plan import PREDICTIONS, Run, expand, read_arrays
from mmorderless.comparison.report.results import (
    Comparison,
    Predictions,
    check_same_images,
    label_lists,
)
from mmorderless.comparison.report.tables import with_minus
from mmorderless.figures.style import title_of
from mmorderless.labels.label_lists import label_matrix
from mmorderless.metrics.bootstrap import interval, resample, resampled_map, resampled_set_scores
from mmorderless.runs.files import write_text

INTERVALS = "intervals.md"
NUM_RESAMPLES = 1000

COLUMNS = {
    "C-F1": ("predicted", "CF1"),
    "O-F1": ("predicted", "OF1"),
    "exact match": ("predicted", "exact_match"),
    "mAP": ("scores", "mAP"),
    "C-F1, chosen": ("predicted_CF1", "CF1"),
    "O-F1, chosen": ("predicted_OF1", "OF1"),
}
"""Title of each column, the array of `predictions.npz` that is scored, and the score."""


def write_intervals(comparison: Comparison, reference: str) -> Path:
    """Write `report/intervals.md`, the difference of every method to one, and return its path.

    A difference is the mean over the seeds that both have; the resamples of the test set are the
    same for all runs.

    Raises:
        ValueError: the reference has no finished run, predictions are missing or damaged, or runs
            were tested on other images.
    """
    folder = comparison.folder
    runs = {
        method: expand(folder, [method], list(by_seed))
        for method, by_seed in comparison.results.items()
    }
    if reference not in runs:
        raise ValueError(
            f"--intervals {reference}: {folder} holds no finished run of it; choose one of "
            f"{', '.join(runs)}"
        )
    references = runs.pop(reference)
    first = {str(references[0]): read_arrays(references[0].folder / PREDICTIONS)}
    base = {run.seed: resampled_scores(run, first) for run in references}
    lines = [
        f"Difference to {title_of(reference)} in percentage points, the mean over the seeds that "
        f"both have, with the 95 % interval of {NUM_RESAMPLES} bootstrap samples of the test "
        "images. *Chosen*: at the operating point that is best for the score on held-out images.",
        "",
        f"| method | {' | '.join(COLUMNS)} |",
        f"| --- |{' ---: |' * len(COLUMNS)}",
    ]
    for method, own in runs.items():
        differences = [
            resampled_scores(run, first) - base[run.seed] for run in own if run.seed in base
        ]
        if differences:
            cells = [with_interval(values) for values in np.mean(differences, axis=0)]
            lines.append(f"| {title_of(method)} | {' | '.join(cells)} |")
    file = folder / "report" / INTERVALS
    write_text(file, "\n".join(lines) + "\n")
    return file


def resampled_scores(run: Run, first: Mapping[str, Predictions]) -> np.ndarray:
    """Return a run's scores on the test set and on its resamples, shape (columns, 1 + R).

    Class scores are stored in half precision, so that mAP may differ in the second decimal from
    that of the other tables; and labels that are not judged are negatives here.

    Args:
        run: a finished run.
        first: predictions, by name, of a run that must have been tested on the same images.
    """
    arrays = read_arrays(run.folder / PREDICTIONS)
    check_same_images({**first, str(run): arrays})
    num_images, num_classes = arrays["scores"].shape
    weights = np.concatenate([np.ones((1, num_images)), resample(num_images, NUM_RESAMPLES)])
    truth = label_matrix(label_lists(arrays, "truth"), num_classes)
    found = []
    for name, score in COLUMNS.values():
        if name == "scores":
            found.append(resampled_map(arrays[name].astype(np.float32), truth, weights))
        else:
            predicted = label_matrix(label_lists(arrays, name), num_classes)
            found.append(resampled_set_scores(predicted, truth, weights)[score])
    return np.stack(found)


def with_interval(values: np.ndarray) -> str:
    """Format the first value, with the interval of the others."""
    low, high = interval(values[1:])
    return with_minus(f"{values[0]:+.2f} [{low:+.2f}, {high:+.2f}]")
