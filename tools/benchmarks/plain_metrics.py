"""Plain scores: Python sets, and a loop over classes for mAP."""

from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np


def plain_scores(
    predicted: Sequence[Sequence[int]],
    truth: Sequence[Sequence[int]],
    sequences: Sequence[Sequence[int]],
    scores: np.ndarray,
) -> dict[str, float]:
    """Return OP, OR, CP, CR, mAP, duplicates and rigidness in percent, like `LabelSetMetric`.

    Args:
        predicted: label set of each image.
        truth: true label set of each image.
        sequences: labels as predicted_counts, repeats included.
        scores: shape (N, C).
    """
    num_classes = scores.shape[1]
    true_positives: Counter[int] = Counter()
    predicted_counts: Counter[int] = Counter()
    actual: Counter[int] = Counter()
    before: Counter[tuple[int, int]] = Counter()
    repeated = 0
    is_true = np.zeros(scores.shape, bool)
    for i, (labels, true_labels, sequence) in enumerate(zip(predicted, truth, sequences)):
        true_positives.update(set(labels) & set(true_labels))
        predicted_counts.update(set(labels))
        actual.update(set(true_labels))
        is_true[i, list(true_labels)] = True
        distinct = list(dict.fromkeys(sequence))
        repeated += len(distinct) < len(sequence)
        before.update(combinations(distinct, 2))
    classes = range(num_classes)
    pairs = [(before[a, b], before[b, a]) for a, b in combinations(classes, 2)]
    precisions = [average_precision(scores[:, c], is_true[:, c]) for c in classes if actual[c]]
    return {
        "OP": 100 * sum(true_positives.values()) / sum(predicted_counts.values()),
        "OR": 100 * sum(true_positives.values()) / sum(actual.values()),
        "CP": 100
        * sum(true_positives[c] / max(predicted_counts[c], 1) for c in classes)
        / num_classes,
        "CR": 100 * sum(true_positives[c] / max(actual[c], 1) for c in classes) / num_classes,
        "mAP": 100 * sum(precisions) / len(precisions),
        "duplicates": 100 * repeated / len(predicted),
        "rigidness": 100 * sum(map(max, pairs)) / sum(map(sum, pairs)),
    }


def average_precision(scores: np.ndarray, is_true: np.ndarray) -> float:
    """Return the mean over the positives of the precision among images scored at least as high.

    Args:
        scores: scores of one class, shape (N,).
        is_true: shape (N,).
    """
    order = np.argsort(-scores)
    ranked, found = scores[order], np.cumsum(is_true[order])
    last = np.searchsorted(-ranked, -ranked, side="right")  # images scored at least as high
    precision = found[last - 1] / last
    return float(precision[is_true[order]].mean())
