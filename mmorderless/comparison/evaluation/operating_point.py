"""Choose the operating point of a model between precision and recall on held-out images.

The operating parameter of a BCE model is the threshold on its scores, that of a sequence model the
bias subtracted from END's logit, that of known sets θ of the risk rule. N images, C classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mmorderless.labels.label_lists import Matrix
from mmorderless.metrics.set_scores import class_scores, overall_scores

CHOSEN_FOR = ("CF1", "OF1")
"""Scores that an operating point maximizes."""

BIASES = tuple(step / 4 for step in range(-8, 13))
"""Candidates of the END bias, in nats; more are tried if the best one is at an end."""

EXTRA_CANDIDATES = 4
"""Number of candidates that extend the grid at an end."""

MAX_BIAS = 8.0
"""Largest absolute bias to try."""

THETAS = tuple(step / 20 for step in range(2, 19))
"""Candidates of θ, from 0.1 to 0.9."""

COUNT_FACTORS = tuple(2 ** (step / 8) for step in range(-16, 17))
"""Numbers of predicted labels to try, as multiples of the true number."""

THRESHOLDS = (0.0, 0.005, 0.01, *(step / 50 for step in range(1, 50)))
"""Candidates of the threshold on scores in [0, 1]; dense at the lower end for rare classes."""


def candidates(grid: Sequence[float], default: float) -> list[float]:
    """Return the values to try: a grid and the default."""
    return sorted({*grid, default})


def thresholds_by_count(scores: np.ndarray, truth: Matrix) -> list[float]:
    """Return the thresholds that give a quarter to four times the true number of labels.

    They serve scores without a natural 0.5: a ranking loss may move all of them close to 0 or 1.

    Args:
        scores: shape (N, C).
        truth: true sets, boolean, shape (N, C).
    """
    share = np.minimum(np.array(COUNT_FACTORS) * truth.sum() / max(scores.size, 1), 1.0)
    values = np.quantile(scores, 1 - share, method="nearest") if scores.size else []
    return sorted({float(value) for value in values})


def candidates_beyond(curve: Sequence[Mapping[str, float]], default: float) -> list[float]:
    """Return further biases to try where the best value is at an end of the curve."""
    values = sorted(point["value"] for point in curve)
    chosen = {best_value(curve, score, default) for score in CHOSEN_FOR}
    step = BIASES[1] - BIASES[0]
    more = [values[0] - step * (k + 1) for k in range(EXTRA_CANDIDATES) if values[0] in chosen]
    more += [values[-1] + step * (k + 1) for k in range(EXTRA_CANDIDATES) if values[-1] in chosen]
    return [value for value in more if abs(value) <= MAX_BIAS]


def above(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the label sets (N, C) at a threshold, as mmpretrain's multi-label heads do.

    It is compared in the precision of the scores (N, C).
    """
    return scores >= scores.dtype.type(threshold)


def operating_curve(sets: Mapping[float, Matrix], truth: Matrix) -> list[dict[str, float]]:
    """Score the label sets at each value of the operating parameter.

    Args:
        sets: predicted sets by value, boolean, shape (N, C).
        truth: true sets, boolean, shape (N, C).

    Returns:
        For each value, ascending: `value` and CP, CR, CF1, OP, OR, OF1 in percent.
    """
    return [
        {"value": value, **class_scores(sets[value], truth), **overall_scores(sets[value], truth)}
        for value in sorted(sets)
    ]


def threshold_curve(
    scores: np.ndarray, truth: Matrix, thresholds: Sequence[float]
) -> list[dict[str, float]]:
    """Return the operating curve of thresholds on scores, with one set in memory at a time."""
    dense = truth if isinstance(truth, np.ndarray) else truth.toarray()
    return [
        point
        for threshold in sorted(thresholds)
        for point in operating_curve({threshold: above(scores, threshold)}, dense)
    ]


def best_value(curve: Sequence[Mapping[str, float]], score: str, default: float) -> float:
    """Return the value with the highest score, CF1 or OF1.

    Ties go to the value nearest to the default, then to the lower value.
    """
    best = min(
        curve, key=lambda point: (-point[score], abs(point["value"] - default), point["value"])
    )
    return best["value"]
