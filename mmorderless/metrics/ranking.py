"""Scores of rankings: mean average precision and top-k."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.sparse import csc_array, csr_array

from mmorderless.labels.label_lists import Matrix
from mmorderless.metrics.set_scores import check_finite, check_sets, mean_or_nan

# Classes whose scores are copied into contiguous rows at once: 64 of 100,000 images take 26 MB.
CLASS_CHUNK = 64


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
