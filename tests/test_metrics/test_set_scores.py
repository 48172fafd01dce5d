import numpy as np
import pytest
from sklearn import metrics as sklearn_metrics

from mmorderless.labels.label_lists import label_matrix, ragged_labels, sparse_label_matrix
from mmorderless.metrics import set_scores
from mmorderless.metrics.ranking import mean_average_precision


def test_mean_accuracy_equals_sklearn(sets):
    predicted, truth = sets
    truth[:, 3] = truth[1:, 4] = True  # no negative, and a single one
    truth[1:, 5] = False
    truth[0, 4:6] = False, True
    kept = [0, 2, 4, 5, 6]
    expected = np.mean(
        [sklearn_metrics.balanced_accuracy_score(truth[:, c], predicted[:, c]) for c in kept]
    )
    assert set_scores.mean_accuracy(*sets) == (pytest.approx(100 * expected), 2)


def test_paper_f1_is_harmonic():
    assert set_scores.harmonic_mean(80.38, 68.85) == pytest.approx(74.17, abs=0.005)  # Table 4
    assert set_scores.harmonic_mean(81.46, 73.26) == pytest.approx(77.14, abs=0.005)


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
