"""Scores of resampled test sets, for intervals that tell differences from chance (Efron 1979).

Letters: R resamples, N images, C classes. An image drawn k times in a resample has weight k, so
that a resample is a row of weights instead of a copy of the data.
"""

import numpy as np

from mmorderless.metrics.set_scores import percent


def resample(num_images: int, num_resamples: int, seed: int = 0) -> np.ndarray:
    """Draw test sets of N images with replacement; return the weights, float64, shape (R, N)."""
    generator = np.random.default_rng(seed)
    shares = np.full(num_images, 1 / num_images)
    return generator.multinomial(num_images, shares, num_resamples).astype(np.float64)


def resampled_set_scores(
    predicted: np.ndarray, truth: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return C-F1, O-F1 and exact match of every resample.

    Args:
        predicted: label sets, boolean, shape (N, C).
        truth: true sets, boolean, shape (N, C).
        weights: see `resample`.

    Returns:
        CF1, OF1 and exact_match in percent, shape (R,) each, as in `set_scores`.
    """
    counts = (predicted & truth, predicted, truth)
    true_positives, num_predicted, num_true = (weights @ count for count in counts)  # (R, C)
    precision = percent(true_positives, num_predicted).mean(1)
    recall = percent(true_positives, num_true).mean(1)
    totals = num_predicted.sum(1) + num_true.sum(1)
    return {
        "CF1": 2 * precision * recall / np.maximum(precision + recall, 1e-12),
        "OF1": percent(2 * true_positives.sum(1), totals),
        "exact_match": percent(weights @ (predicted == truth).all(1), weights.sum(1)),
    }


def resampled_map(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return mAP of every resample in percent, shape (R,), as `mean_average_precision` defines it.

    Args:
        scores: score of each class, shape (N, C).
        truth: true sets, boolean, shape (N, C).
        weights: see `resample`.
    """
    precisions = np.full((truth.shape[1], len(weights)), np.nan)
    for c in range(truth.shape[1]):
        order = np.argsort(-scores[:, c], kind="stable")
        ends = np.append(np.diff(scores[order, c]) != 0, True)  # of images of equal score
        drawn = weights[:, order]
        positives = np.cumsum(drawn * truth[order, c], axis=1)[:, ends]
        share = percent(positives, np.cumsum(drawn, axis=1)[:, ends])
        found = np.diff(positives, axis=1, prepend=0)
        has_one = positives[:, -1] > 0
        precisions[c, has_one] = (found * share).sum(1)[has_one] / positives[has_one, -1]
    return np.nanmean(precisions, axis=0)


def interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of resampled values, shape (R,)."""
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
