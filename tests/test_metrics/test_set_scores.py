from itertools import permutations, product

import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from mmorderless.labels.label_lists import label_matrix, ragged_labels, sparse_label_matrix
from mmorderless.metrics import set_scores
from mmorderless.metrics.ranking import mean_average_precision


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


def test_a_mean_over_no_class_is_nan():
    nothing = np.zeros((2, 3), dtype=bool)
    assert set_scores.mean_accuracy(nothing, nothing) == (pytest.approx(np.nan, nan_ok=True), 3)
    value, left_out = mean_average_precision(nothing.astype(float), nothing)
    assert np.isnan(value)
    assert left_out == 3


def test_label_count_errors_tell_too_many_from_too_few():
    predicted = np.array([[1, 1, 1], [0, 0, 0], [1, 0, 0]], dtype=bool)
    truth = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=bool)
    errors = set_scores.label_count_errors(predicted, truth)
    assert errors["label_count_error"] == pytest.approx((2 + 1 + 0) / 3)
    assert errors["label_count_bias"] == pytest.approx((2 - 1 + 0) / 3)


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


def test_sequence_scores():
    sequences = [[0, 1, 1], [1, 0], [0, 1], [2], []]
    scores = set_scores.sequence_scores(sequences, 3)
    assert scores["duplicates"] == 20  # one image of five
    assert scores["rigidness"] == pytest.approx(100 * 2 / 3)
    assert scores["rigidness_random"] == pytest.approx(75)  # (3 + 3·2 + 3·2 + 3) / 2³ of 3


def test_sequence_scores_by_number_of_labels_are_those_of_the_images():
    sequences = [[0, 1, 1], [1, 0], [], [2], [0, 1, 2, 0], [1]]
    num_true = np.array([2, 4, 0, 3, 12, 5])
    found = set_scores.sequence_scores_by_size(ragged_labels(sequences), num_true, 3)
    images = {"0 to 1": [2], "2 to 3": [0, 3], "4 to 5": [1, 5], "6 or more": [4]}
    assert list(found) == list(images)
    for size, chosen in images.items():
        alone = set_scores.sequence_scores([sequences[i] for i in chosen], 3)
        assert found[size] == pytest.approx({"num_images": len(chosen), **alone}, nan_ok=True)
    [only] = set_scores.sequence_scores_by_size(ragged_labels([[0]]), np.array([6]), 3)
    assert only == "6 or more"


def test_a_repeat_in_another_image_is_no_duplicate():
    assert set_scores.duplicate_ratio([[0, 1], [1, 0], [0]], 2) == 0
    assert set_scores.duplicate_ratio([[0, 1, 0], [1, 1, 1, 1]], 2) == 100


def test_rigidness_without_pairs_is_nan():
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
    ):
        assert function(*sparse) == function(*sets)


def test_sparse_label_matrix_counts_repeats_once():
    matrix = sparse_label_matrix([[2, 0, 2], [], np.array([1])], 3)
    assert matrix.toarray().tolist() == label_matrix([[0, 2], [], [1]], 3).tolist()
    assert matrix.nnz == 3
