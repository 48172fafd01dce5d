"""Scores of predicted label sets against true ones (NumPy and SciPy), in percent except counts.

N images, C classes. `predicted` and `truth` are boolean arrays of shape (N, C), both dense or both
sparse; `label_matrix` and `sparse_label_matrix` make them from lists of class indices. The values
are the same; a sparse array takes a few bytes a label instead of C bytes an image. A ratio whose
denominator is 0 counts as 0, unless a docstring says that it is left out or not a number.

Definitions follow Yazici et al., CVPR 2020, section 4.1.
"""

from __future__ import annotations

import numpy as np

from mmorderless.labels.label_lists import LabelLists, Matrix, drop_repeats, flatten_labels
from mmorderless.metrics.order_statistics import (
    order_rigidness,
    random_order_rigidness,
    sparse_pair_order_counts,
)


def class_scores(predicted: Matrix, truth: Matrix) -> dict[str, float]:
    """Precision and recall of each class, averaged over all C classes.

    A class that is never predicted has precision 0, one without a positive has recall 0; both
    count. CF1 is the harmonic mean of CP and CR, not the mean of the classes' F1 (the paper says
    "geometric", but its numbers are harmonic).

    Returns:
        CP, CR, CF1 in percent.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    hits, emitted, true = count_labels(predicted, truth, axis=0)
    precision = percent(hits, emitted).mean()
    recall = percent(hits, true).mean()
    return {
        "CP": float(precision),
        "CR": float(recall),
        "CF1": harmonic_mean(precision, recall),
    }


def overall_scores(predicted: Matrix, truth: Matrix) -> dict[str, float]:
    """Precision, recall and their harmonic mean over all image-label pairs.

    Returns:
        OP, OR, OF1 in percent.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    hits, emitted, true = (count.sum() for count in count_labels(predicted, truth, axis=1))
    precision = float(percent(hits, emitted))
    recall = float(percent(hits, true))
    return {"OP": precision, "OR": recall, "OF1": harmonic_mean(precision, recall)}


def example_scores(predicted: Matrix, truth: Matrix) -> dict[str, float]:
    """Scores of each image's set, averaged over the images (used for PA-100K).

    accuracy = mean |∩|/|∪|, precision = mean |∩|/|predicted|, recall = mean |∩|/|true|; F1 is the
    harmonic mean of the two means. An image with an empty denominator counts as 0.

    Returns:
        example_accuracy, example_precision, example_recall, example_F1 in percent.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    hits, emitted, true = count_labels(predicted, truth, axis=1)
    precision = percent(hits, emitted).mean()
    recall = percent(hits, true).mean()
    return {
        "example_accuracy": float(percent(hits, emitted + true - hits).mean()),
        "example_precision": float(precision),
        "example_recall": float(recall),
        "example_F1": harmonic_mean(precision, recall),
    }


def exact_match(predicted: Matrix, truth: Matrix) -> float:
    """Share of images whose predicted set equals the true one, in percent.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    hits, emitted, true = count_labels(predicted, truth, axis=1)
    return float(100 * ((hits == emitted) & (hits == true)).mean())


def mean_accuracy(predicted: Matrix, truth: Matrix) -> tuple[float, int]:
    """mA: mean over classes of (true positive rate + true negative rate) / 2.

    Returns:
        mA in percent, and the number of classes left out because they have no positive or no
        negative. mA is NaN when all are left out.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    hits, emitted, positives = count_labels(predicted, truth, axis=0)
    negatives = truth.shape[0] - positives
    kept = (positives > 0) & (negatives > 0)
    true_positive_rate = percent(hits, positives)
    true_negative_rate = percent(negatives - (emitted - hits), negatives)
    return mean_or_nan((true_positive_rate + true_negative_rate)[kept] / 2), int((~kept).sum())


def label_count_errors(predicted: Matrix, truth: Matrix) -> dict[str, float]:
    """How many labels too many or too few an image gets.

    Returns:
        label_count_error, the mean of |number predicted − number true|, and label_count_bias, the
        mean of number predicted − number true; both in labels per image.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    _, emitted, true = count_labels(predicted, truth, axis=1)
    surplus = emitted - true
    return {
        "label_count_error": float(np.abs(surplus).mean()),
        "label_count_bias": float(surplus.mean()),
    }


def class_counts(predicted: Matrix, truth: Matrix) -> dict[str, int]:
    """Number of classes that make the per-class scores meaningless when there are many.

    Returns:
        never_predicted: classes that no image is predicted to have;
        without_positive: classes that no image has.

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    _, emitted, true = count_labels(predicted, truth, axis=0)
    return {
        "never_predicted": int((emitted == 0).sum()),
        "without_positive": int((true == 0).sum()),
    }


def sequence_scores(sequences: LabelLists, num_classes: int) -> dict[str, float]:
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
    before = sparse_pair_order_counts(sequences, num_classes)
    return {
        "duplicates": duplicate_ratio(sequences, num_classes),
        "rigidness": order_rigidness(before),
        "rigidness_random": random_order_rigidness(before),
    }


def duplicate_ratio(sequences: LabelLists, num_classes: int) -> float:
    """Share of images whose raw sequence repeats a label, in percent.

    Raises:
        ValueError: there is no sequence, or a class index is not in 0 … C − 1.
    """
    check_number(len(sequences))
    label, image = flatten_labels(sequences, num_classes, "sequence")
    _, kept = drop_repeats(label, image, num_classes)
    emitted, distinct = (np.bincount(i, minlength=len(sequences)) for i in (image, kept))
    return float(100 * (emitted > distinct).mean())


def count_labels(predicted: Matrix, truth: Matrix, axis: int) -> tuple[np.ndarray, ...]:
    """Count labels of each class (axis 0) or of each image (axis 1).

    Returns:
        The labels both predicted and true, those predicted and those true, int64, shape (C,) or
        (N,).

    Raises:
        ValueError: the matrices are empty or of different shapes.
    """
    check_sets(predicted, truth)
    both = predicted & truth if isinstance(predicted, np.ndarray) else predicted.multiply(truth)
    return both.sum(axis=axis), predicted.sum(axis=axis), truth.sum(axis=axis)


def check_sets(predicted: Matrix, truth: Matrix) -> None:
    """Raise a ValueError when there is nothing to score, or the shapes do not fit."""
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise ValueError(
            f"predictions and truth must both be of shape (images, classes), got "
            f"{predicted.shape} and {truth.shape}; use the same number of classes for both"
        )
    check_number(predicted.shape[0])


def check_finite(scores: Matrix) -> None:
    """Raise a ValueError when a score of shape (N, C) is NaN or infinite."""
    values = scores if isinstance(scores, np.ndarray) else scores.data
    # A NaN shows in both; no array of N · C truth values is made for scores that are right.
    if not values.size or np.isfinite([values.min(), values.max()]).all():
        return
    images = np.nonzero(~np.isfinite(values))[0]
    if not isinstance(scores, np.ndarray):
        images = np.searchsorted(scores.indptr, images, side="right") - 1
    bad = np.unique(images)
    raise ValueError(
        f"the scores of {len(bad)} of {scores.shape[0]} images are not finite, first "
        f"that of image {bad[0]}; check the model's output for NaN"
    )


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
