import numpy as np
import pytest

from mmorderless.comparison.evaluation.operating_point import (
    BIASES,
    THRESHOLDS,
    above,
    best_value,
    candidates,
    candidates_beyond,
    operating_curve,
    threshold_curve,
    thresholds_by_count,
)


def random_scores():
    rng = np.random.default_rng(0)
    scores = rng.random((40, 5)).astype(np.float32)
    return scores, rng.random((40, 5)) < scores**2


def f1(precision, recall):
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def brute_force(scores, truth, name):
    """The best threshold, found by counting labels one by one."""
    best = None
    for threshold in candidates(THRESHOLDS, 0.5):
        true_positives, predicted_counts, true = np.zeros(5), np.zeros(5), np.zeros(5)
        for i in range(40):
            for c in range(5):
                predicted = scores[i, c] >= np.float32(threshold)
                true_positives[c] += predicted and truth[i, c]
                predicted_counts[c] += predicted
                true[c] += truth[i, c]
        if name == "CF1":
            value = f1(
                np.mean([h / s if s else 0 for h, s in zip(true_positives, predicted_counts)]),
                np.mean([h / t if t else 0 for h, t in zip(true_positives, true)]),
            )
        else:
            value = f1(
                true_positives.sum() / max(predicted_counts.sum(), 1),
                true_positives.sum() / max(true.sum(), 1),
            )
        if best is None or value > best[0] + 1e-12:
            best = (value, threshold)
    return best


@pytest.mark.parametrize("name", ["CF1", "OF1"])
def test_the_chosen_threshold_equals_brute_force(name):
    scores, truth = random_scores()
    curve = threshold_curve(scores, truth, candidates(THRESHOLDS, 0.5))
    value, threshold = brute_force(scores, truth, name)
    assert best_value(curve, name, 0.5) == threshold
    assert max(point[name] for point in curve) == pytest.approx(100 * value)


def test_ties_go_to_the_value_nearest_the_default():
    curve = [{"value": v, "CF1": s} for v, s in ((-1, 5), (0, 4), (0.5, 5), (1, 5), (2, 5))]
    assert best_value(curve, "CF1", 0.0) == 0.5
    assert best_value(curve, "CF1", 1.9) == 2
    assert best_value(curve, "CF1", 0.75) == 0.5  # 0.5 and 1 are equally near: the lower one
    assert best_value(curve[:2], "CF1", 0.0) == -1


def test_the_curve_is_in_the_order_of_the_values_and_has_the_default():
    scores, truth = random_scores()
    sets = {value: above(scores, value) for value in (0.7, 0.1)}
    curve = operating_curve(sets, truth)
    assert [point["value"] for point in curve] == [0.1, 0.7]
    assert curve == threshold_curve(scores, truth, [0.7, 0.1])
    assert 0.3 in candidates(BIASES, 0.3)
    assert candidates(BIASES, 0.0) == [-2 + step / 4 for step in range(21)]


def test_thresholds_by_count_serve_scores_of_any_scale():
    scores, truth = random_scores()
    for shift in (-8.0, 0.0, 8.0):  # a grid of thresholds has nothing for most of them
        moved = 1 / (1 + np.exp(-(np.log(scores / (1 - scores)) + shift)))
        thresholds = thresholds_by_count(moved, truth)
        numbers = [above(moved, threshold).sum() for threshold in thresholds]
        assert min(numbers) <= truth.sum() / 4 + 1
        assert max(numbers) >= min(4 * truth.sum(), scores.size)
        assert min(abs(number - truth.sum()) for number in numbers) <= 1
    assert thresholds_by_count(scores, np.zeros_like(truth)) == [scores.max()]
    assert thresholds_by_count(scores[:0], truth[:0]) == []


def test_a_score_equal_to_the_threshold_in_single_precision_is_a_label():
    assert above(np.array([[0.3, 0.29]], dtype=np.float32), 0.3).tolist() == [[True, False]]


def test_more_candidates_are_tried_if_the_best_is_at_an_end():
    def curve(best):
        return [{"value": v, "CF1": -abs(v - best), "OF1": -abs(v)} for v in BIASES]

    assert candidates_beyond(curve(0.5), 0.0) == []
    assert candidates_beyond(curve(9.0), 0.0) == [3.25, 3.5, 3.75, 4.0]
    assert candidates_beyond(curve(-9.0), 0.0) == [-2.25, -2.5, -2.75, -3.0]
    far = [{"value": v / 4, "CF1": v, "OF1": v} for v in range(-8, 32)]
    assert candidates_beyond(far, 0.0) == [8.0]  # not above MAX_BIAS
