import numpy as np
import pytest
from scipy.sparse import csr_array

from mmorderless.metrics.ranking import keep_top, mean_average_precision, top_scores


def test_keep_top_cuts_but_never_adds():
    predicted = np.array([[1, 1, 1, 0, 1], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]], dtype=bool)
    scores = np.array([[0.2, 0.9, 0.5, 1.0, 0.6]] * 3)
    assert keep_top(predicted, scores, 3).tolist() == [
        [False, True, True, False, True],
        [False, True, False, False, False],
        [False] * 5,
    ]


def test_keep_top_gives_a_tie_to_the_lower_class():
    predicted = np.ones((1, 4), dtype=bool)
    kept = keep_top(predicted, np.full((1, 4), 0.5), 3)
    assert kept.tolist() == [[True, True, True, False]]


def test_scores_that_are_not_finite():
    scores = np.zeros((3, 2))
    scores[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"1 of 3 images .*non-finite .*image 1.*check"):
        mean_average_precision(scores, np.ones((3, 2), dtype=bool))


@pytest.mark.parametrize("with_ignored", [False, True])
def test_mean_average_precision_of_a_sparse_array(sets, with_ignored):
    """With all entries that of the dense one; else that of a dense one with a least value there."""
    _, truth = sets
    rng = np.random.default_rng(0)
    scores = rng.random(truth.shape).round(1).astype(np.float32)  # with zeros and ties
    ignored = rng.random(truth.shape) < 0.2 if with_ignored else None
    dense = mean_average_precision(scores, truth, ignored)

    def of_sparse(kept):
        entries = csr_array((scores[kept], np.nonzero(kept)), shape=scores.shape)
        sparse_ignored = None if ignored is None else csr_array(ignored)
        return mean_average_precision(entries, csr_array(truth), sparse_ignored)

    assert of_sparse(np.ones(truth.shape, dtype=bool)) == dense
    kept = rng.random(truth.shape) < 0.4
    filled = np.where(kept, scores, -1)
    assert of_sparse(kept) == mean_average_precision(filled, truth, ignored)


def test_mean_average_precision_of_the_highest_scores_equals_brute_force(sets):
    _, truth = sets
    scores = np.random.default_rng(0).random(truth.shape).astype(np.float32)
    place = (-scores).argsort(axis=1).argsort(axis=1)  # 0 is the highest of an image
    average_precisions = []
    for c in np.flatnonzero(truth.any(axis=0)):
        rank = np.where(place[:, c] < 3, scores[:, c], -np.inf)  # the others tie behind
        at_least = rank >= rank[truth[:, c], None]  # (positives, N)
        average_precisions.append((at_least & truth[:, c]).sum(1) / at_least.sum(1))
    expected = 100 * np.mean([precision.mean() for precision in average_precisions])
    top = top_scores(scores, 3)
    assert mean_average_precision(top, truth)[0] == pytest.approx(expected)

    rows = np.random.default_rng(1).permutation(len(truth))
    in_order = mean_average_precision(top, truth)
    assert mean_average_precision(top[rows], truth[rows]) == in_order


def test_top_scores_leave_out_all_that_tie_for_the_last_place():
    scores = np.array([[0.5, 0.9, 0.5, 0.1], [0.0, 0.0, 0.0, 0.0], [0.4, 0.3, 0.2, 0.1]])
    top = top_scores(scores, 2)
    assert top.toarray().tolist() == [[0, 0.9, 0, 0], [0] * 4, [0.4, 0.3, 0, 0]]
    assert np.diff(top.indptr).tolist() == [1, 0, 2]
    assert top_scores(scores, 4).nnz == scores.size  # zeros are scores too


def test_keep_top_of_sparse_arrays(sets):
    predicted, _ = sets
    scores = np.random.default_rng(0).random(predicted.shape).round(1)
    expected = keep_top(predicted, scores, 2)
    for entries in (scores, top_scores(scores, 7)):
        cut = keep_top(csr_array(predicted), entries, 2)
        assert (cut.toarray() == expected).all()


def test_keep_top_puts_labels_without_a_score_last():
    predicted = np.ones((2, 4), dtype=bool)
    scores = csr_array(np.array([[0, 0, 0, 0.1], [0, 0.2, 0.3, 0.4]]))
    assert keep_top(predicted, scores, 2).tolist() == [
        [True, False, False, True],
        [False, False, True, True],
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_of_a_sparse_array_that_are_not_finite(bad):
    scores = csr_array(np.array([[0.5, 0], [0, 0], [0.1, bad]]))
    with pytest.raises(ValueError, match=r"1 of 3 images .*non-finite .*image 2.*check"):
        mean_average_precision(scores, csr_array(np.ones((3, 2), dtype=bool)))
    with pytest.raises(ValueError, match=r"1 of 3 images .*non-finite .*image 2.*check"):
        top_scores(scores.toarray(), 1)
