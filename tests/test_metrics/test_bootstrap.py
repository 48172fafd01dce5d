"""Scores of resamples are those of the test set with its images repeated."""

import numpy as np
import pytest

from mmorderless.metrics import set_scores
from mmorderless.metrics.bootstrap import interval, resample, resampled_map, resampled_set_scores
from mmorderless.metrics.ranking import mean_average_precision


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    truth = generator.random((40, 5)) < [0.5, 0.3, 0.2, 0.1, 0.05]
    scores = np.round(0.5 * truth + generator.random(truth.shape), 1)  # with ties
    return scores, scores >= 0.7, truth


def test_each_resample_is_scored_as_a_test_set_of_its_own(data):
    scores, predicted, truth = data
    weights = resample(len(truth), 20)
    assert (weights.sum(1) == len(truth)).all()
    assert weights.max() > 1
    found = resampled_set_scores(predicted, truth, weights)
    ap = resampled_map(scores, truth, weights)
    for r, row in enumerate(weights.astype(int)):
        drawn = np.repeat(np.arange(len(truth)), row)
        p, t = predicted[drawn], truth[drawn]
        assert found["CF1"][r] == pytest.approx(set_scores.class_scores(p, t)["CF1"])
        assert found["OF1"][r] == pytest.approx(set_scores.overall_scores(p, t)["OF1"])
        assert found["exact_match"][r] == pytest.approx(set_scores.exact_match(p, t))
        assert ap[r] == pytest.approx(mean_average_precision(scores[drawn], t)[0])


def test_interval_covers_the_true_mean_as_often_as_it_says():
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        correct = generator.random(200) < 0.3
        low, high = interval(resample(200, 400) @ correct / 2)
        covered += low <= 30 <= high
    assert 0.90 <= covered / 200 <= 0.99
