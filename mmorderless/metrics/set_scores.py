"""Scores of predicted label sets against true ones (pure NumPy), in percent except counts.

N images, C classes. `predicted` and `truth` are boolean arrays of shape (N, C); `label_matrix`
makes them from lists of class indices. A ratio whose denominator is 0 counts as 0, unless a
docstring says that it is left out or not a number.

Definitions follow Yazici et al., CVPR 2020, section 4.1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..analysis.statistics import (
    Labels,
    drop_repeats,
    flatten_labels,
    order_rigidness,
    pair_order_counts,
    random_order_rigidness,
)


def label_matrix(
    label_lists: Sequence[Labels], num_classes: int, what: str = "labels"
) -> np.ndarray:
    """Make a boolean matrix of label lists.

    Args:
        label_lists: the class indices of each of N images; repeats count once.
        num_classes: number of classes C.
        what: how an error calls the lists.

    Returns:
        Boolean matrix, shape (N, C).

    Raises:
        ValueError: a class index is not in 0 … C − 1.
    """
    label, image = flatten_labels(label_lists, num_classes, what)
    matrix = np.zeros((len(label_lists), num_classes), dtype=bool)
    matrix[image, label] = True
    return matrix


def class_scores(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Precision and recall of each class, averaged over all C classes.

    A class that is never predicted has precision 0, one without a positive has recall 0; both
    count. CF1 is the harmonic mean of CP and CR, not the mean of the classes' F1 (the paper says
    "geometric", but its numbers are harmonic).

    Returns:
        CP, CR, CF1 in percent.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    check_sets(predicted, truth)
    hits = (predicted & truth).sum(axis=0)
    precision = percent(hits, predicted.sum(axis=0)).mean()
    recall = percent(hits, truth.sum(axis=0)).mean()
    return {
        "CP": float(precision),
        "CR": float(recall),
        "CF1": harmonic_mean(precision, recall),
    }


def overall_scores(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Precision, recall and their harmonic mean over all image-label pairs.

    Returns:
        OP, OR, OF1 in percent.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    check_sets(predicted, truth)
    hits = (predicted & truth).sum()
    precision = float(percent(hits, predicted.sum()))
    recall = float(percent(hits, truth.sum()))
    return {"OP": precision, "OR": recall, "OF1": harmonic_mean(precision, recall)}


def example_scores(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Scores of each image's set, averaged over the images (used for PA-100K).

    accuracy = mean |∩|/|∪|, precision = mean |∩|/|predicted|, recall = mean |∩|/|true|; F1 is the
    harmonic mean of the two means. An image with an empty denominator counts as 0.

    Returns:
        example_accuracy, example_precision, example_recall, example_F1 in percent.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    check_sets(predicted, truth)
    hits = (predicted & truth).sum(axis=1)
    precision = percent(hits, predicted.sum(axis=1)).mean()
    recall = percent(hits, truth.sum(axis=1)).mean()
    return {
        "example_accuracy": float(percent(hits, (predicted | truth).sum(axis=1)).mean()),
        "example_precision": float(precision),
        "example_recall": float(recall),
        "example_F1": harmonic_mean(precision, recall),
    }


def exact_match(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Share of images whose predicted set equals the true one, in percent.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    check_sets(predicted, truth)
    return float(100 * (predicted == truth).all(axis=1).mean())


def mean_accuracy(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, int]:
    """mA: mean over classes of (true positive rate + true negative rate) / 2.

    Returns:
        mA in percent, and the number of classes left out because they have no positive or no
        negative. mA is NaN when all are left out.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    check_sets(predicted, truth)
    positives = truth.sum(axis=0)
    negatives = len(truth) - positives
    kept = (positives > 0) & (negatives > 0)
    true_positive_rate = percent((predicted & truth).sum(axis=0), positives)
    true_negative_rate = percent((~predicted & ~truth).sum(axis=0), negatives)
    return mean_or_nan((true_positive_rate + true_negative_rate)[kept] / 2), int((~kept).sum())


def mean_average_precision(
    scores: np.ndarray, truth: np.ndarray, ignored: np.ndarray | None = None
) -> tuple[float, int]:
    """mAP: mean over the classes that have a positive of the average precision.

    AP = Σ_k (R_k − R_{k−1}) P_k over the distinct score values as thresholds, that is the mean over
    the positives of the precision among all images scored at least as high. Images of equal score
    enter together, so the order of the rows cannot change the value.

    Args:
        scores: score of each class, shape (N, C).
        truth: shape (N, C).
        ignored: entries that count neither as positive nor as negative (an attribute that is
            unspecified), boolean, shape (N, C); None for none.

    Returns:
        mAP in percent (NaN when no class has a positive), and the number of classes left out.

    Raises:
        ValueError: the arrays are empty or of different shapes, or a score is not finite.
    """
    check_sets(scores, truth)
    finite = np.isfinite(scores).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"the scores of {int((~finite).sum())} of {len(scores)} images are not finite, first "
            f"that of image {int(np.argmin(finite))}; check the model's output for NaN"
        )
    counted = np.ones_like(truth) if ignored is None else ~ignored
    check_sets(counted, truth)
    truth = truth & counted
    positives = truth.sum(axis=0)
    average_precisions = []
    for c in np.flatnonzero(positives):
        all_scores, true_scores = np.sort(scores[counted[:, c], c]), np.sort(scores[truth[:, c], c])
        # The images that enter no later than each positive: those of the same score or a higher.
        retrieved = len(all_scores) - np.searchsorted(all_scores, true_scores)
        hits = len(true_scores) - np.searchsorted(true_scores, true_scores)
        average_precisions.append(float((hits / retrieved).mean()))
    return mean_or_nan(100 * np.array(average_precisions)), int((positives == 0).sum())


def label_count_errors(predicted: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """How many labels too many or too few an image gets.

    Returns:
        label_count_error, the mean of |number predicted − number true|, and label_count_bias, the
        mean of number predicted − number true; both in labels per image.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    check_sets(predicted, truth)
    surplus = predicted.sum(axis=1) - truth.sum(axis=1)
    return {
        "label_count_error": float(np.abs(surplus).mean()),
        "label_count_bias": float(surplus.mean()),
    }


def class_counts(predicted: np.ndarray, truth: np.ndarray) -> dict[str, int]:
    """Number of classes that make the per-class scores meaningless when there are many.

    Returns:
        never_predicted: classes that no image is predicted to have;
        without_positive: classes that no image has.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    check_sets(predicted, truth)
    return {
        "never_predicted": int((~predicted.any(axis=0)).sum()),
        "without_positive": int((~truth.any(axis=0)).sum()),
    }


def keep_top(predicted: np.ndarray, scores: np.ndarray, k: int) -> np.ndarray:
    """Cut each predicted set to its k labels of highest score; the lower class wins a tie.

    Sets of k labels or fewer stay as they are: nothing is added (Top-3 of the literature, k = 3).

    Args:
        predicted: shape (N, C).
        scores: score of each class, shape (N, C).
        k: how many labels to keep.

    Returns:
        The cut sets, boolean, shape (N, C).

    Raises:
        ValueError: the arrays are empty or of different shapes.
    """
    check_sets(predicted, scores)
    order = np.argsort(np.where(predicted, -scores, np.inf), axis=1, kind="stable")[:, :k]
    kept = np.zeros_like(predicted)
    np.put_along_axis(kept, order, True, axis=1)
    return kept & predicted


def sequence_scores(sequences: Sequence[Labels], num_classes: int) -> dict[str, float]:
    """What is wrong with, and fixed in, the order of emission.

    Args:
        sequences: for each image the labels in order of emission, repeats included, without END.
        num_classes: number of classes C.

    Returns:
        duplicates: share of images whose sequence repeats a label, in percent;
        rigidness: order-rigidness in percent, repeats removed first; NaN when no image has two
        labels;
        rigidness_random: its expectation when the same sets are ordered at random.

    Raises:
        ValueError: there is no sequence, or a class index is not in 0 … C − 1.
    """
    before = pair_order_counts(sequences, num_classes)
    return {
        "duplicates": duplicate_ratio(sequences, num_classes),
        "rigidness": order_rigidness(before),
        "rigidness_random": random_order_rigidness(before),
    }


def duplicate_ratio(sequences: Sequence[Labels], num_classes: int) -> float:
    """Share of images whose raw sequence repeats a label, in percent.

    Raises:
        ValueError: there is no sequence, or a class index is not in 0 … C − 1.
    """
    check_number(len(sequences))
    label, image = flatten_labels(sequences, num_classes, "sequence")
    _, kept = drop_repeats(label, image, num_classes)
    emitted, distinct = (np.bincount(i, minlength=len(sequences)) for i in (image, kept))
    return float(100 * (emitted > distinct).mean())


def check_sets(predicted: np.ndarray, truth: np.ndarray) -> None:
    """Raise a ValueError when there is nothing to score, or the shapes do not fit."""
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise ValueError(
            f"predictions and truth must both be of shape (images, classes), got "
            f"{predicted.shape} and {truth.shape}; use the same number of classes for both"
        )
    check_number(len(predicted))


def check_number(num_images: int) -> None:
    """Raise a ValueError when there is no prediction at all."""
    if num_images == 0:
        raise ValueError(
            "no predictions to score (0 images); check that the dataset is not empty and that "
            "the predictions reach the metric"
        )


def percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """100 · part / whole, and 0 where whole is 0."""
    return 100 * part / np.maximum(whole, 1)


def harmonic_mean(a: float, b: float) -> float:
    """Harmonic mean of two scores, and 0 when both are 0."""
    return float(2 * a * b / (a + b)) if a + b else 0.0


def mean_or_nan(values: np.ndarray) -> float:
    """Mean of an array, and NaN when it is empty."""
    return float(values.mean()) if values.size else float("nan")
