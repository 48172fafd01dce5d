"""Scores of predicted label sets against true ones (NumPy and SciPy), in percent except counts.

N images, C classes. `predicted` and `truth` are boolean arrays of shape (N, C), both dense or both
sparse; `label_matrix` and `sparse_label_matrix` make them from lists of class indices. The values
are the same; a sparse array takes a few bytes a label instead of C bytes an image. A ratio whose
denominator is 0 counts as 0, unless a docstring says that it is left out or not a number.

Definitions follow Yazici et al., CVPR 2020, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
from scipy.sparse import csc_array, csr_array

from ..analysis.statistics import (
    LabelLists,
    drop_repeats,
    flatten_labels,
    order_rigidness,
    random_order_rigidness,
    sparse_pair_order_counts,
)

Matrix: TypeAlias = np.ndarray | csr_array
# Classes whose scores are copied into contiguous rows at once: 64 of 100,000 images take 26 MB.
CLASS_CHUNK = 64


def label_matrix(label_lists: LabelLists, num_classes: int, what: str = "labels") -> np.ndarray:
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


def sparse_label_matrix(
    label_lists: LabelLists, num_classes: int, what: str = "labels"
) -> csr_array:
    """Make the matrix of `label_matrix` as a sparse array, which has an entry a label."""
    label, image = flatten_labels(label_lists, num_classes, what)
    image, label = np.divmod(np.unique(image * num_classes + label), max(num_classes, 1))
    ends = np.cumsum(np.bincount(image, minlength=len(label_lists)))
    entries = np.ones(len(label), dtype=bool), label, np.concatenate([[0], ends])
    return csr_array(entries, shape=(len(label_lists), num_classes))


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


def mean_average_precision(
    scores: Matrix, truth: Matrix, ignored: Matrix | None = None
) -> tuple[float, int]:
    """mAP: mean over the classes that have a positive of the average precision.

    AP = Σ_k (R_k − R_{k−1}) P_k over the distinct score values as thresholds, that is the mean over
    the positives of the precision among all images scored at least as high. Images of equal score
    enter together, so the order of the rows cannot change the value.

    Args:
        scores: score of each class, shape (N, C). In a sparse array (as from `top_scores`) the
            images without an entry tie behind those that have one, whatever its value; with every
            entry there, the value is that of the dense array.
        truth: shape (N, C).
        ignored: entries that count neither as positive nor as negative (an attribute that is
            unspecified), boolean, shape (N, C); None for none.

    Returns:
        mAP in percent (NaN when no class has a positive), and the number of classes left out.

    Raises:
        ValueError: the arrays are empty or of different shapes, or a score is not finite.
    """
    check_sets(scores, truth)
    check_finite(scores)
    if ignored is not None:
        check_sets(ignored, truth)
    num_images, num_classes = scores.shape
    positives_of = csr_array(truth).tocsc()
    ignored_of = None if ignored is None else csr_array(ignored).tocsc()
    is_true, is_counted = np.zeros(num_images, dtype=bool), np.ones(num_images, dtype=bool)
    average_precisions = []
    for c, (images, class_scores) in enumerate(scores_by_class(scores)):
        positives = rows_of_column(positives_of, c)
        ignored_images = positives[:0] if ignored_of is None else rows_of_column(ignored_of, c)
        is_counted[ignored_images] = False
        positives = positives[is_counted[positives]]
        if positives.size:
            is_true[positives] = True
            counted = is_counted[images] if ignored_images.size else slice(None)
            average_precisions.append(
                average_precision(
                    class_scores[counted],
                    class_scores[is_true[images] & is_counted[images]],
                    num_images - len(ignored_images),
                    len(positives),
                )
            )
            is_true[positives] = False
        is_counted[ignored_images] = True
    left_out = num_classes - len(average_precisions)
    return mean_or_nan(100 * np.array(average_precisions)), left_out


def average_precision(
    scores: np.ndarray, true_scores: np.ndarray, num_images: int, num_positives: int
) -> float:
    """Average precision of one class, between 0 and 1; see `mean_average_precision`.

    Args:
        scores: of the images that have one, shape (n,).
        true_scores: of the positives among them, shape (p,).
        num_images: all images; those without a score tie behind the others.
        num_positives: all positives, at least 1.
    """
    scores, true_scores = np.sort(scores), np.sort(true_scores)
    # The images that enter no later than each positive: those of the same score or a higher.
    retrieved = len(scores) - np.searchsorted(scores, true_scores)
    hits = len(true_scores) - np.searchsorted(true_scores, true_scores)
    unscored = np.full(num_positives - len(true_scores), num_positives / num_images)
    return float(np.concatenate([unscored, hits / retrieved]).mean())


def scores_by_class(scores: Matrix) -> Iterator[tuple[np.ndarray | slice, np.ndarray]]:
    """Yield for each class which images have a score, and their scores."""
    if isinstance(scores, np.ndarray):
        for first in range(0, scores.shape[1], CLASS_CHUNK):
            for row in np.ascontiguousarray(scores[:, first : first + CLASS_CHUNK].T):
                yield slice(None), row
        return
    by_class = scores.tocsc()
    for c in range(scores.shape[1]):
        start, end = by_class.indptr[c : c + 2]
        yield by_class.indices[start:end], by_class.data[start:end]


def rows_of_column(matrix: csc_array, column: int) -> np.ndarray:
    """Rows that have an entry in a column of a matrix in column form."""
    return matrix.indices[matrix.indptr[column] : matrix.indptr[column + 1]]


def top_scores(scores: np.ndarray, k: int) -> csr_array:
    """Keep the k highest scores of each image.

    Classes that tie for the last places are all left out, so that their numbering cannot change
    the choice; an image then keeps fewer than k.

    Args:
        scores: score of each class, shape (N, C).
        k: how many scores to keep, at least 1.

    Returns:
        The scores kept, shape (N, C), sparse; all of them where C ≤ k.

    Raises:
        ValueError: a score is not finite.
    """
    check_finite(scores)
    num_classes = scores.shape[1]
    if k < num_classes:
        place = num_classes - k - 1
        best_left_out = np.partition(scores, place, axis=1)[:, place]
        kept = scores > best_left_out[:, None]
    else:
        kept = np.ones(scores.shape, dtype=bool)
    ends = np.cumsum(kept.sum(axis=1))
    entries = scores[kept], np.nonzero(kept)[1], np.concatenate([[0], ends])
    return csr_array(entries, shape=scores.shape)


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


def keep_top(predicted: Matrix, scores: Matrix, k: int) -> Matrix:
    """Cut each predicted set to its k labels of highest score; the lower class wins a tie.

    Sets of k labels or fewer stay as they are: nothing is added (Top-3 of the literature, k = 3).

    Args:
        predicted: shape (N, C).
        scores: score of each class, shape (N, C). Labels without an entry in a sparse array tie
            behind those that have one.
        k: how many labels to keep.

    Returns:
        The cut sets, boolean, shape (N, C), sparse where `predicted` is.

    Raises:
        ValueError: the arrays are empty or of different shapes.
    """
    check_sets(predicted, scores)
    labels = csr_array(predicted)
    image = np.repeat(np.arange(labels.shape[0]), np.diff(labels.indptr))
    order = np.lexsort([labels.indices, -scores_at(scores, image, labels.indices), image])
    # The places of an image's labels stay together, and begin where they began.
    place = np.arange(len(image)) - labels.indptr[image]
    kept = order[place < k]
    entries = np.ones(len(kept), dtype=bool), (image[kept], labels.indices[kept])
    cut = csr_array(entries, shape=labels.shape)
    return cut.toarray() if isinstance(predicted, np.ndarray) else cut


def scores_at(scores: Matrix, image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Scores of some labels of some images; −∞ where a sparse array has no entry.

    Args:
        scores: shape (N, C); the entries of a sparse one in the order of image and class.
        image: shape (M,).
        label: shape (M,).
    """
    if isinstance(scores, np.ndarray):
        return scores[image, label]
    num_images, num_classes = scores.shape
    row = np.repeat(np.arange(num_images), np.diff(scores.indptr))
    keys = np.append(row * num_classes + scores.indices, num_images * num_classes)
    wanted = image * num_classes + label
    place = np.searchsorted(keys, wanted)
    return np.where(keys[place] == wanted, np.append(scores.data, 0)[place], -np.inf)


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
