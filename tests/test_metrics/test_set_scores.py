from itertools import permutations, product

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn import metrics as sklearn_metrics

from mmorderless.labels.label_lists import label_matrix, sparse_label_matrix
from mmorderless.metrics import set_scores
from mmorderless.metrics.ranking import keep_top, mean_average_precision, top_scores


@pytest.fixture(params=range(5))
def sets(request):
    """Random predicted and true sets, with empty rows, and classes that one of them lacks."""
    rng = np.random.default_rng(request.param)
    predicted, truth = rng.random((2, 40, 7)) < 0.3
    predicted[:3] = False
    truth[2:5] = False
    predicted[:, 0] = False
    truth[:, 1] = False
    return predicted, truth


def by_sklearn(predicted, truth, average):
    return 100 * np.array(
        sklearn_metrics.precision_recall_fscore_support(
            truth, predicted, average=average, zero_division=0
        )[:3]
    )


def test_class_scores_equal_sklearn(sets):
    precision, recall, mean_f1 = by_sklearn(*sets, "macro")
    scores = set_scores.class_scores(*sets)
    assert scores["CP"] == pytest.approx(precision)
    assert scores["CR"] == pytest.approx(recall)
    assert scores["CF1"] == pytest.approx(2 * precision * recall / (precision + recall))
    assert scores["CF1"] != pytest.approx(mean_f1)  # not the mean of the classes' F1


def test_overall_scores_equal_sklearn(sets):
    precision, recall, f1 = by_sklearn(*sets, "micro")
    scores = set_scores.overall_scores(*sets)
    assert list(scores.values()) == pytest.approx([precision, recall, f1])
    assert list(scores) == ["OP", "OR", "OF1"]


def test_example_scores_equal_sklearn(sets):
    predicted, truth = sets
    precision, recall, _ = by_sklearn(*sets, "samples")
    jaccard = sklearn_metrics.jaccard_score(truth, predicted, average="samples", zero_division=0)
    assert set_scores.example_scores(*sets) == pytest.approx(
        {
            "example_accuracy": 100 * jaccard,
            "example_precision": precision,
            "example_recall": recall,
            "example_F1": 2 * precision * recall / (precision + recall),
        }
    )
    assert set_scores.exact_match(*sets) == pytest.approx(
        100 * sklearn_metrics.accuracy_score(truth, predicted)
    )


def test_mean_accuracy_equals_sklearn(sets):
    predicted, truth = sets
    kept = [c for c in range(7) if 0 < truth[:, c].sum() < len(truth)]
    expected = np.mean(
        [sklearn_metrics.balanced_accuracy_score(truth[:, c], predicted[:, c]) for c in kept]
    )
    assert set_scores.mean_accuracy(*sets) == (pytest.approx(100 * expected), 7 - len(kept))


@pytest.mark.parametrize("decimals", [1, 8])  # 1 makes many ties
def test_mean_average_precision_equals_sklearn(sets, decimals):
    _, truth = sets
    scores = np.random.default_rng(0).random(truth.shape).round(decimals).astype(np.float32)
    kept = truth.any(axis=0)
    expected = sklearn_metrics.average_precision_score(truth[:, kept], scores[:, kept])
    value, left_out = mean_average_precision(scores, truth)
    assert value == pytest.approx(100 * expected)
    assert left_out == 1


def test_mean_average_precision_does_not_depend_on_the_row_order():
    truth = np.array([[1], [0], [0], [1]], dtype=bool)
    scores = np.array([[0.5], [0.5], [0.5], [0.9]], dtype=np.float32)
    values = {
        mean_average_precision(scores[list(rows)], truth[list(rows)])[0]
        for rows in permutations(range(4))
    }
    assert values == {100 * (1 + 2 / 4) / 2}


def test_mean_average_precision_of_a_perfect_ranking_is_100():
    truth = np.eye(3, dtype=bool)
    assert mean_average_precision(truth.astype(float), truth) == (100, 0)


def test_paper_f1_is_harmonic():
    assert set_scores.harmonic_mean(80.38, 68.85) == pytest.approx(74.17, abs=0.005)  # Table 4
    assert set_scores.harmonic_mean(81.46, 73.26) == pytest.approx(77.14, abs=0.005)


def test_perfect_sets_score_100():
    truth = np.array([[1, 0], [0, 1], [1, 1]], dtype=bool)
    for function in (
        set_scores.class_scores,
        set_scores.overall_scores,
        set_scores.example_scores,
    ):
        assert set(function(truth, truth).values()) == {100}
    assert set_scores.exact_match(truth, truth) == 100
    assert set_scores.mean_accuracy(truth, truth) == (100, 0)


@pytest.mark.parametrize("predicted,truth", [(0, 0), (0, 1), (1, 0)])
def test_empty_denominators_count_as_zero(predicted, truth):
    predicted = np.full((4, 3), predicted, dtype=bool)
    truth = np.full((4, 3), truth, dtype=bool)
    for function in (
        set_scores.class_scores,
        set_scores.overall_scores,
        set_scores.example_scores,
    ):
        assert set(function(predicted, truth).values()) == {0}


def test_what_has_no_class_to_average_is_not_a_number():
    nothing = np.zeros((2, 3), dtype=bool)
    assert set_scores.mean_accuracy(nothing, nothing) == (pytest.approx(np.nan, nan_ok=True), 3)
    value, left_out = mean_average_precision(nothing.astype(float), nothing)
    assert np.isnan(value)
    assert left_out == 3


def test_class_counts():
    predicted = np.array([[1, 0, 0], [1, 0, 0]], dtype=bool)
    truth = np.array([[1, 1, 0], [0, 1, 0]], dtype=bool)
    assert set_scores.class_counts(predicted, truth) == {
        "never_predicted": 2,
        "without_positive": 1,
    }


def test_label_count_errors_tell_too_many_from_too_few():
    predicted = np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0]], dtype=bool)
    truth = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=bool)
    errors = set_scores.label_count_errors(predicted, truth)
    assert errors["label_count_error"] == pytest.approx((2 + 1 + 0) / 3)
    assert errors["label_count_bias"] == pytest.approx((2 - 1 + 0) / 3)


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


def test_label_matrix_takes_lists_and_arrays():
    lists = [[2, 0, 2], [], np.array([1]), np.array([], dtype=np.int64)]
    assert label_matrix(lists, 3).astype(int).tolist() == [
        [1, 0, 1],
        [0, 0, 0],
        [0, 1, 0],
        [0, 0, 0],
    ]


@pytest.mark.parametrize("label", [-1, 3])
def test_class_index_out_of_range_names_the_image(label):
    with pytest.raises(ValueError, match=rf"class index {label} in the truth of image 1 is not"):
        label_matrix([[0], [1, label]], 3, "truth")
    with pytest.raises(ValueError, match=rf"class index {label} in the sequence of image 1"):
        set_scores.sequence_scores([[0], [1, label]], 3)


def test_no_prediction_at_all():
    nothing = np.zeros((0, 3), dtype=bool)
    for function in (
        set_scores.class_scores,
        set_scores.overall_scores,
        set_scores.example_scores,
        set_scores.exact_match,
        set_scores.mean_accuracy,
        mean_average_precision,
    ):
        with pytest.raises(ValueError, match=r"no predictions to score .* check that"):
            function(nothing, nothing)
    with pytest.raises(ValueError, match="no predictions to score"):
        set_scores.sequence_scores([], 3)


def test_different_shapes():
    with pytest.raises(ValueError, match=r"got \(2, 3\) and \(2, 4\)"):
        set_scores.overall_scores(np.ones((2, 3), dtype=bool), np.ones((2, 4), dtype=bool))


def test_scores_that_are_not_finite():
    scores = np.zeros((3, 2))
    scores[1, 0] = np.nan
    with pytest.raises(
        ValueError, match=r"scores of 1 of 3 images are not finite, first .* image 1"
    ):
        mean_average_precision(scores, np.ones((3, 2), dtype=bool))


def test_sequence_scores():
    sequences = [[0, 1, 1], [1, 0], [0, 1], [2], []]
    scores = set_scores.sequence_scores(sequences, 3)
    assert scores["duplicates"] == 20  # one image of five
    assert scores["rigidness"] == pytest.approx(100 * 2 / 3)
    assert scores["rigidness_random"] == pytest.approx(75)  # (3 + 3·2 + 3·2 + 3) / 2³ of 3


def test_a_repeat_in_another_image_is_no_duplicate():
    assert set_scores.duplicate_ratio([[0, 1], [1, 0], [0]], 2) == 0
    assert set_scores.duplicate_ratio([[0, 1, 0], [1, 1, 1, 1]], 2) == 100


def test_rigidness_without_pairs_is_not_a_number():
    scores = set_scores.sequence_scores([[0], [], [1, 1]], 2)
    assert np.isnan(scores["rigidness"])
    assert np.isnan(scores["rigidness_random"])


def test_random_rigidness_equals_the_mean_over_all_orders():
    label_sets = [[0, 1], [0, 1, 2], [1, 2], [0, 1]]
    every_order = product(*(permutations(labels) for labels in label_sets))
    rigidness = [set_scores.sequence_scores(order, 3)["rigidness"] for order in every_order]
    assert set_scores.sequence_scores(label_sets, 3)["rigidness_random"] == pytest.approx(
        np.mean(rigidness)
    )


def test_sparse_sets_have_the_scores_of_dense_ones(sets):
    lists = [[np.flatnonzero(row) for row in matrix] for matrix in sets]
    sparse = [sparse_label_matrix(rows, 7) for rows in lists]
    for matrix, expected in zip(sparse, sets):
        assert (matrix.toarray() == expected).all()
    for function in (
        set_scores.class_scores,
        set_scores.overall_scores,
        set_scores.example_scores,
        set_scores.exact_match,
        set_scores.mean_accuracy,
        set_scores.label_count_errors,
        set_scores.class_counts,
    ):
        assert function(*sparse) == function(*sets)


def test_sparse_label_matrix_counts_repeats_once():
    matrix = sparse_label_matrix([[2, 0, 2], [], np.array([1])], 3)
    assert matrix.toarray().tolist() == label_matrix([[0, 2], [], [1]], 3).tolist()
    assert matrix.nnz == 3


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
    with pytest.raises(ValueError, match=r"scores of 1 of 3 images .* first that of image 2"):
        mean_average_precision(scores, csr_array(np.ones((3, 2), dtype=bool)))
    with pytest.raises(ValueError, match=r"scores of 1 of 3 images .* first that of image 2"):
        top_scores(scores.toarray(), 1)
