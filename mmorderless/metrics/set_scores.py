"""Scores of predicted label sets against true ones (NumPy and SciPy), in percent except counts.

N images, C classes. `predicted` and `truth` are boolean arrays of shape (N, C), both dense or both
sparse; `label_matrix` and `sparse_label_matrix` make them from lists of class indices. Both kinds
give the same values; a sparse array takes a few bytes per label instead of C bytes per image. A
ratio whose denominator is 0 counts as 0, unless a docstring says that it is left out or NaN.

All scores raise a ValueError when the arrays are empty or differ in shape.

Definitions follow Yazici et al., CVPR 2020, section 4.1.
"""

import numpy as np

from mmorderless.labels.label_lists import (
    LabelLists,
    Matrix,
    RaggedLabels,
    drop_repeats,
    flatten_labels,
)
from mmorderless.metrics.order_statistics import (
    order_rigidness,
    pair_order_counts,
    random_order_rigidness,
)

SIZES = {"0 to 1": (0, 1), "2 to 3": (2, 3), "4 to 5": (4, 5), "6 or more": (6, np.inf)}
"""Ranges of an image's number of true labels by name: the least and the most."""


def class_scores(predicted: Matrix, truth: Matrix) -> dict[str, float]:
    """Compute C-P, C-R and C-F1 (keys CP, CR, CF1).

    CP and CR are the means over the classes of precision (correct / predicted) and recall (correct
    / true); CF1 = 2 CP CR / (CP + CR), not `per_class_f1_mean` (the paper says "geometric", but its
    numbers are harmonic). A class that is never predicted has precision 0, one without a
    positive has recall 0; both count.

    Returns:
        CP, CR, CF1 in percent.

    >>> class_scores(np.array([[True, True], [True, False]]), np.eye(2, dtype=bool))
    {'CP': 25.0, 'CR': 50.0, 'CF1': 33.333333333333336}
    """
    of_classes = scores_of_classes(predicted, truth)
    precision, recall = of_classes["precision"].mean(), of_classes["recall"].mean()
    return {"CP": float(precision), "CR": float(recall), "CF1": harmonic_mean(precision, recall)}


def scores_of_classes(predicted: Matrix, truth: Matrix) -> dict[str, np.ndarray]:
    """Compute the scores of each class; a ratio whose denominator is 0 is 0.

    Returns:
        precision, recall and F1 in percent, and support, the number of images that have the class;
        each of shape (C,).

    >>> scores_of_classes(np.array([[True, True], [True, False]]), np.eye(2, dtype=bool))["F1"]
    array([66.66666667,  0.        ])
    """
    true_positives, num_predicted, num_true = confusion_counts(predicted, truth, axis=0)
    return {
        "precision": percent(true_positives, num_predicted),
        "recall": percent(true_positives, num_true),
        "F1": percent(2 * true_positives, num_predicted + num_true),
        "support": num_true,
    }


def per_class_f1_mean(predicted: Matrix, truth: Matrix) -> float:
    """Return the mean of the classes' F1 in percent, another convention than C-F1's.

    A class that is neither predicted nor true has F1 0 and counts. SRN and ACfs report this mean as
    C-F1.

    >>> per_class_f1_mean(np.array([[True, True], [True, False]]), np.eye(2, dtype=bool))
    33.333333333333336
    """
    return float(scores_of_classes(predicted, truth)["F1"].mean())


def overall_scores(predicted: Matrix, truth: Matrix) -> dict[str, float]:
    """Compute precision, recall and their harmonic mean over all image-label pairs.

    Returns:
        OP, OR, OF1 in percent.

    >>> overall_scores(np.array([[True, True], [True, False]]), np.eye(2, dtype=bool))
    {'OP': 33.333333333333336, 'OR': 50.0, 'OF1': 40.0}
    """
    per_image = confusion_counts(predicted, truth, axis=1)
    true_positives, num_predicted, num_true = (count.sum() for count in per_image)
    precision = float(percent(true_positives, num_predicted))
    recall = float(percent(true_positives, num_true))
    return {"OP": precision, "OR": recall, "OF1": harmonic_mean(precision, recall)}


def example_scores(predicted: Matrix, truth: Matrix) -> dict[str, float]:
    """Average the scores of each image's set over the images (used for PA-100K).

    accuracy = mean |∩|/|∪|, precision = mean |∩|/|predicted|, recall = mean |∩|/|true|; F1 is the
    harmonic mean of the two means. An image with an empty denominator counts as 0.

    Returns:
        example_accuracy, example_precision, example_recall, example_F1 in percent.
    """
    true_positives, num_predicted, num_true = confusion_counts(predicted, truth, axis=1)
    precision = percent(true_positives, num_predicted).mean()
    recall = percent(true_positives, num_true).mean()
    union = num_predicted + num_true - true_positives
    return {
        "example_accuracy": float(percent(true_positives, union).mean()),
        "example_precision": float(precision),
        "example_recall": float(recall),
        "example_F1": harmonic_mean(precision, recall),
    }


def exact_match(predicted: Matrix, truth: Matrix) -> float:
    """Return the share of images whose predicted set equals the true one, in percent."""
    true_positives, num_predicted, num_true = confusion_counts(predicted, truth, axis=1)
    return float(100 * ((true_positives == num_predicted) & (true_positives == num_true)).mean())


def mean_accuracy(predicted: Matrix, truth: Matrix) -> tuple[float, int]:
    """Compute mA: mean over classes of (true positive rate + true negative rate) / 2.

    Returns:
        mA in percent, and the number of classes left out because they have no positive or no
        negative. mA is NaN when all are left out.
    """
    true_positives, num_predicted, positives = confusion_counts(predicted, truth, axis=0)
    negatives = truth.shape[0] - positives
    kept = (positives > 0) & (negatives > 0)
    true_positive_rate = percent(true_positives, positives)
    true_negative_rate = percent(negatives - (num_predicted - true_positives), negatives)
    return mean_or_nan((true_positive_rate + true_negative_rate)[kept] / 2), int((~kept).sum())


def label_count_errors(predicted: Matrix, truth: Matrix) -> dict[str, float]:
    """Compare the number of predicted labels of an image with the true one.

    Returns:
        label_count_error, the mean of |number predicted − number true|, and label_count_bias, the
        mean of number predicted − number true; both in labels per image.
    """
    _, num_predicted, num_true = confusion_counts(predicted, truth, axis=1)
    surplus = num_predicted - num_true
    return {
        "label_count_error": float(np.abs(surplus).mean()),
        "label_count_bias": float(surplus.mean()),
    }


def sequence_scores(sequences: LabelLists, num_classes: int) -> dict[str, float]:
    """Score the order of emission: how often labels repeat and how fixed the order is.

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


def sequence_scores_by_size(
    sequences: RaggedLabels, num_true: np.ndarray, num_classes: int
) -> dict[str, dict[str, float]]:
    """Score the order of emission for images with few and with many true labels.

    Args:
        sequences: the sequences of N images.
        num_true: number of true labels of each image, shape (N,).
        num_classes: number of classes C.

    Returns:
        For each range of `SIZES` that has an image, its `sequence_scores` and `num_images`.
    """
    found = {}
    for size, (least, most) in SIZES.items():
        images = np.flatnonzero((num_true >= least) & (num_true <= most))
        if len(images):
            scores = sequence_scores(sequences.take(images), num_classes)
            found[size] = {"num_images": len(images), **scores}
    return found


def duplicate_ratio(sequences: LabelLists, num_classes: int) -> float:
    """Return the share of images whose sequence repeats a label, in percent.

    Raises:
        ValueError: there is no sequence, or a class index is not in 0 … C − 1.

    >>> duplicate_ratio([[0, 1, 0], [1, 0]], num_classes=2)
    50.0
    """
    check_not_empty(len(sequences))
    label, image = flatten_labels(sequences, num_classes, "sequence")
    _, kept = drop_repeats(label, image, num_classes)
    emitted, distinct = (np.bincount(i, minlength=len(sequences)) for i in (image, kept))
    return float(100 * (emitted > distinct).mean())


def confusion_counts(predicted: Matrix, truth: Matrix, axis: int) -> tuple[np.ndarray, ...]:
    """Count the labels of each class (axis 0) or of each image (axis 1).

    Returns:
        Numbers of true positives, of predicted labels and of true labels, int64, shape (C,) or
        (N,).
    """
    check_sets(predicted, truth)
    both = predicted & truth if isinstance(predicted, np.ndarray) else predicted.multiply(truth)
    return both.sum(axis=axis), predicted.sum(axis=axis), truth.sum(axis=axis)


def check_sets(predicted: Matrix, truth: Matrix) -> None:
    """Raise a ValueError when there is nothing to score, or the shapes differ."""
    if predicted.ndim != 2 or predicted.shape != truth.shape:
        raise ValueError(
            f"predictions and truth must both be of shape (images, classes), got "
            f"{predicted.shape} and {truth.shape}; use the same number of classes for both"
        )
    check_not_empty(predicted.shape[0])


def check_finite_scores(scores: Matrix) -> None:
    """Raise a ValueError when a score of shape (N, C) is NaN or infinite."""
    if isinstance(scores, np.ndarray):
        images = np.nonzero(~np.isfinite(scores))[0]
    else:
        entries = np.flatnonzero(~np.isfinite(scores.data))
        images = np.searchsorted(scores.indptr, entries, side="right") - 1
    if images.size:
        raise ValueError(
            f"{len(np.unique(images))} of {scores.shape[0]} images have non-finite scores "
            f"(first: image {images[0]}); check the model's output for NaN"
        )


def check_not_empty(num_images: int) -> None:
    """Raise a ValueError when there is no prediction at all."""
    if num_images == 0:
        raise ValueError(
            "no predictions to score (0 images); check that the dataset is not empty and that "
            "the predictions reach the metric"
        )


def percent(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return 100 · part / whole, and 0 where whole is 0."""
    return 100 * part / np.maximum(whole, 1)


def harmonic_mean(a: float, b: float) -> float:
    """Return the harmonic mean of two scores, and 0 when both are 0."""
    return float(2 * a * b / (a + b)) if a + b else 0.0


def mean_or_nan(values: np.ndarray) -> float:
    """Return the mean of an array, and NaN when it is empty."""
    return float(values.mean()) if values.size else float("nan")
