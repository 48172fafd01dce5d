"""The operating point of a model: its dial between precision and recall, set on held-out images.

A BCE model's dial is the threshold on its scores, a sequence model's what is subtracted from END's
logit. N images, C classes.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mmorderless.labels.label_lists import Matrix
from mmorderless.metrics.set_scores import class_scores, overall_scores

CHOSEN_FOR = ("CF1", "OF1")
"""The scores that an operating point is chosen for."""

BIASES = tuple(step / 4 for step in range(-8, 13))
"""Candidates, in nats, of what is subtracted from END's logit; more are tried beyond an end."""

BEYOND = 4
"""How many candidates more are tried beyond an end of the grid that is the best of it."""

FARTHEST = 8.0
"""A bias beyond which none is tried."""

THRESHOLDS = (0.0, 0.005, 0.01, *(step / 50 for step in range(1, 50)))
"""Candidates of a threshold on scores between 0 and 1; close at the lower end for rare classes."""


def candidates(grid: Sequence[float], default: float) -> list[float]:
    """Return the values of a dial to try: a grid and the default."""
    return sorted({*grid, default})


def beyond(curve: Sequence[Mapping[str, float]], default: float) -> list[float]:
    """Return candidates beyond the ends of a curve that are its best, so that none is cut off.

    Args:
        curve: see `dial_curve`; of evenly spaced biases and the default.
        default: see `best_value`.
    """
    values = sorted(point["value"] for point in curve)
    chosen = {best_value(curve, score, default) for score in CHOSEN_FOR}
    step = BIASES[1] - BIASES[0]
    more = [values[0] - step * (k + 1) for k in range(BEYOND) if values[0] in chosen]
    more += [values[-1] + step * (k + 1) for k in range(BEYOND) if values[-1] in chosen]
    return [value for value in more if abs(value) <= FARTHEST]


def above(scores: np.ndarray, threshold: float) -> np.ndarray:
    """Return the label sets at a threshold, as mmpretrain's multi-label heads cut their scores.

    Args:
        scores: shape (N, C).
        threshold: the least score of a label.

    Returns:
        Boolean matrix, shape (N, C).
    """
    return scores >= scores.dtype.type(threshold)


def dial_curve(sets: Mapping[float, Matrix], truth: Matrix) -> list[dict[str, float]]:
    """Score the label sets at each value of a dial.

    Args:
        sets: value → predicted sets, boolean, shape (N, C).
        truth: shape (N, C).

    Returns:
        For each value, ascending, `value` and CP, CR, CF1, OP, OR, OF1 in percent.
    """
    return [
        {
            "value": value,
            **class_scores(sets[value], truth),
            **overall_scores(sets[value], truth),
        }
        for value in sorted(sets)
    ]


def threshold_curve(
    scores: np.ndarray, truth: Matrix, thresholds: Sequence[float]
) -> list[dict[str, float]]:
    """Return the dial curve of scores that are cut at thresholds, one set in memory at a time."""
    dense = truth if isinstance(truth, np.ndarray) else truth.toarray()
    return [
        point
        for threshold in sorted(thresholds)
        for point in dial_curve({threshold: above(scores, threshold)}, dense)
    ]


def best_value(curve: Sequence[Mapping[str, float]], score: str, default: float) -> float:
    """Return the value of the dial with the highest score.

    Args:
        curve: see `dial_curve`.
        score: CF1 or OF1.
        default: of equal scores the one nearest this value wins, of two as near the lower one.
    """
    best = min(
        curve, key=lambda point: (-point[score], abs(point["value"] - default), point["value"])
    )
    return best["value"]
