"""Scores of rankings: mean average precision and top-k."""

import numpy as np
from scipy.sparse import csc_array, csr_array

from mmorderless.labels.label_lists import Matrix
from mmorderless.metrics.set_scores import check_finite_scores, check_sets, mean_or_nan


def mean_average_precision(
    scores: Matrix, truth: Matrix, ignored: Matrix | None = None
) -> tuple[float, int]:
    """Compute mAP: the mean of `average_precisions` over the classes that have a positive.

    Returns:
        mAP in percent (NaN when no class has a positive), and the number of classes left out.

    >>> scores = np.array([[0.9, 0.5], [0.8, 0.4], [0.7, 0.6]])
    >>> truth = np.array([[True, False], [False, False], [True, False]])
    >>> mean_average_precision(scores, truth)
    (83.33333333333333, 1)
    """
    of_classes = average_precisions(scores, truth, ignored)
    left_out = np.isnan(of_classes)
    return mean_or_nan(of_classes[~left_out]), int(left_out.sum())


def average_precisions(scores: Matrix, truth: Matrix, ignored: Matrix | None = None) -> np.ndarray:
    """Compute the `average_precision` of each class.

    Args:
        scores: score of each class, shape (N, C). In a sparse array (as from `top_scores`),
            images without an entry for a class tie in last place, even behind negative scores; if
            no entry is missing, the result is that of the dense array.
        truth: shape (N, C).
        ignored: labels not judged, which count neither as positives nor as negatives, boolean,
            shape (N, C); None for none.

    Returns:
        Percentages, shape (C,); NaN for a class without a positive.

    Raises:
        ValueError: the arrays are empty or of different shapes, or a score is not finite.
    """
    check_sets(scores, truth)
    check_finite_scores(scores)
    ignored = csr_array(truth.shape, dtype=bool) if ignored is None else ignored
    check_sets(ignored, truth)
    num_images, num_classes = scores.shape
    truth_columns, ignored_columns = csr_array(truth).tocsc(), csr_array(ignored).tocsc()
    score_columns = scores if isinstance(scores, np.ndarray) else scores.tocsc()
    every_image = np.arange(num_images)
    of_classes = np.full(num_classes, np.nan)
    for c in range(num_classes):
        is_counted = np.ones(num_images, dtype=bool)
        is_counted[rows_of_column(ignored_columns, c)] = False
        is_true = np.zeros(num_images, dtype=bool)
        is_true[rows_of_column(truth_columns, c)] = True
        is_true &= is_counted
        if not is_true.any():
            continue
        if isinstance(score_columns, np.ndarray):
            images, values = every_image, score_columns[:, c]
        else:
            entries = slice(*score_columns.indptr[c : c + 2])
            images, values = score_columns.indices[entries], score_columns.data[entries]
        counted = is_counted[images]
        images, values = images[counted], values[counted]
        unscored = is_counted.sum() - len(images), is_true.sum() - is_true[images].sum()
        of_classes[c] = 100 * average_precision(values, is_true[images], *unscored)
    return of_classes


def average_precision(
    scores: np.ndarray, is_true: np.ndarray, num_unscored: int = 0, true_unscored: int = 0
) -> float:
    """Compute the average precision of one class, between 0 and 1.

    AP = Σ_k (R_k − R_{k−1}) P_k over the distinct score values as thresholds, that is the mean over
    the positives of the precision among all images scored at least as high. Images of equal score
    enter together, so the order of the images cannot change the value.

    Args:
        scores: shape (n,).
        is_true: which of these images are positives, boolean, shape (n,).
        num_unscored: number of further images, which have no score and tie in last place.
        true_unscored: number of positives among these. At least one image, with a score or
            without, must be a positive.

    >>> average_precision(np.array([0.9, 0.8, 0.7]), np.array([True, False, True]))
    0.8333333333333333
    """
    scores, true_scores = np.sort(scores), np.sort(scores[is_true])
    # The images that enter no later than each positive: those of the same score or a higher one.
    retrieved = len(scores) - np.searchsorted(scores, true_scores)
    true_retrieved = len(true_scores) - np.searchsorted(true_scores, true_scores)
    num_positives = len(true_scores) + true_unscored
    last_precision = num_positives / (len(scores) + num_unscored)
    precision = np.append(np.full(true_unscored, last_precision), true_retrieved / retrieved)
    return float(precision.mean())


def rows_of_column(matrix: csc_array, column: int) -> np.ndarray:
    """Return the rows that have an entry in a column of a matrix in column form."""
    return matrix.indices[matrix.indptr[column] : matrix.indptr[column + 1]]


def top_scores(scores: np.ndarray, k: int) -> csr_array:
    """Keep the k highest scores of each image.

    Classes that tie for the last place are all left out, so that the order of the classes cannot
    change the choice; an image then keeps fewer than k.

    Args:
        scores: score of each class, shape (N, C).
        k: how many scores to keep, at least 1.

    Returns:
        The scores kept, shape (N, C), sparse; all of them where C ≤ k.

    Raises:
        ValueError: a score is not finite.

    >>> top_scores(np.array([[0.5, 0.9, 0.1], [0.3, 0.2, 0.2]]), k=2).toarray()
    array([[0.5, 0.9, 0. ],
           [0.3, 0. , 0. ]])
    """
    check_finite_scores(scores)
    num_classes = scores.shape[1]
    if k < num_classes:
        rank = num_classes - k - 1
        best_left_out = np.partition(scores, rank, axis=1)[:, rank]
        kept = scores > best_left_out[:, None]
    else:
        kept = np.ones(scores.shape, dtype=bool)
    ends = np.cumsum(kept.sum(axis=1))
    entries = scores[kept], np.nonzero(kept)[1], np.concatenate([[0], ends])
    return csr_array(entries, shape=scores.shape)


def keep_top(predicted: Matrix, scores: Matrix, k: int) -> Matrix:
    """Cut each predicted set to its k labels of highest score; ties go to the lower class index.

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

    >>> keep_top(np.array([[True, True, True]]), np.array([[0.2, 0.9, 0.5]]), k=2)
    array([[False,  True,  True]])
    """
    check_sets(predicted, scores)
    labels = csr_array(predicted)
    image = np.repeat(np.arange(labels.shape[0]), np.diff(labels.indptr))
    order = np.lexsort([labels.indices, -scores_at(scores, image, labels.indices), image])
    # Sorting keeps each image's labels together and where they were, so that `indptr` still holds.
    rank = np.arange(len(image)) - labels.indptr[image]
    kept = order[rank < k]
    entries = np.ones(len(kept), dtype=bool), (image[kept], labels.indices[kept])
    cut = csr_array(entries, shape=labels.shape)
    return cut.toarray() if isinstance(predicted, np.ndarray) else cut


def scores_at(scores: Matrix, image: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Look up the score of a label of an image; −∞ where a sparse array has no entry.

    Args:
        scores: shape (N, C); in a sparse array, entries are sorted by image, then by class.
        image: shape (M,).
        label: shape (M,).

    Returns:
        Scores, shape (M,).
    """
    if isinstance(scores, np.ndarray):
        return scores[image, label]
    num_images, num_classes = scores.shape
    row = np.repeat(np.arange(num_images), np.diff(scores.indptr))
    keys = np.append(row * num_classes + scores.indices, num_images * num_classes)
    key = image * num_classes + label
    position = np.searchsorted(keys, key)
    found = keys[position] == key
    return np.where(found, np.append(scores.data, 0)[position], -np.inf)
