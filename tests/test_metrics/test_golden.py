"""The metric's scores, against scikit-learn and against counting written out here.

Random predictions of many seeds: few or many images and classes, empty sets, repeated labels,
classes that nobody has or nobody is predicted to have, and scores with ties.
"""

from itertools import combinations, permutations, product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmpretrain.structures import DataSample

from mmorderless.metrics.label_set_metric import LabelSetMetric
from mmorderless.metrics.per_class import class_records

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn")


def draw(seed):
    """Predictions and ground truth of some images, the scores in float32 with or without ties."""
    rng = np.random.default_rng(seed)
    num_images, num_classes = int(rng.integers(1, 60)), int(rng.integers(2, 13))
    truth = rng.random((num_images, num_classes)) < rng.uniform(0.05, 0.6)
    # The last classes are never predicted; a sequence may be empty and repeat labels.
    emitted_classes = int(rng.integers(1, num_classes + 1))
    sequences = [
        rng.integers(emitted_classes, size=rng.integers(0, 7)).tolist() for _ in range(num_images)
    ]
    scores = rng.random((num_images, num_classes)).astype(np.float32)
    return case(sequences, truth, scores.round(1) if seed % 2 else scores)


def case(sequences, truth, scores):
    predicted = np.zeros_like(truth)
    for row, sequence in zip(predicted, sequences):
        row[sequence] = True
    return SimpleNamespace(sequences=sequences, predicted=predicted, truth=truth, scores=scores)


def report(drawn):
    """Return the scores of `LabelSetMetric`, without its prefix."""
    samples = []
    for sequence, truth, scores in zip(drawn.sequences, drawn.truth, drawn.scores):
        sample = DataSample().set_gt_label(torch.tensor(np.flatnonzero(truth)))
        sample.set_pred_score(torch.tensor(scores))
        sample.set_pred_label(torch.tensor(list(dict.fromkeys(sequence)), dtype=torch.long))
        sample.set_field(torch.tensor(sequence, dtype=torch.long), "sequence")
        samples.append(sample)
    evaluator = Evaluator([LabelSetMetric()])
    for i in range(0, len(samples), 16):
        evaluator.process(samples[i : i + 16])
    return {
        name.removeprefix("set/"): value for name, value in evaluator.evaluate(len(samples)).items()
    }


EMPTY = np.zeros((4, 3), dtype=bool)
SCORES = np.full((4, 3), 0.5, dtype=np.float32)
FULL = ~EMPTY
EDGES = {
    "neither predicted nor true": case([[]] * 4, EMPTY, SCORES),
    "nothing predicted": case([[]] * 4, FULL, SCORES),
    "nothing true": case([[0, 1, 2]] * 4, EMPTY, SCORES),
    "all of it right": case([[2, 0, 1]] * 4, FULL, SCORES),
    "one image": case([[1, 1]], FULL[:1], SCORES[:1]),
}
CASES = [pytest.param(draw(seed), id=str(seed)) for seed in range(30)]
CASES += [pytest.param(edge, id=name) for name, edge in EDGES.items()]


def by_sklearn(drawn, average, zero_division=0):
    """Precision, recall and F1 in percent, numbers or arrays over the classes."""
    values = sklearn_metrics.precision_recall_fscore_support(
        drawn.truth, drawn.predicted, average=average, zero_division=zero_division
    )
    return [100 * value for value in values[:3]]


def harmonic(a, b):
    return 2 * a * b / (a + b) if a + b else 0


# Sets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", CASES)
def test_scores_over_all_pairs(drawn):
    found = report(drawn)
    assert [found[name] for name in ("OP", "OR", "OF1")] == pytest.approx(
        by_sklearn(drawn, "micro")
    )


@pytest.mark.parametrize("drawn", CASES)
def test_scores_of_the_classes(drawn):
    """C-F1 is the harmonic mean of C-P and C-R, scikit-learn's the mean of the classes' F1."""
    found = report(drawn)
    precision, recall, f1 = by_sklearn(drawn, "macro")
    assert found["per_class_F1_mean"] == pytest.approx(f1)
    assert [found["CP"], found["CR"]] == pytest.approx([precision, recall])
    assert found["CF1"] == pytest.approx(harmonic(precision, recall))


@pytest.mark.parametrize("drawn", CASES)
def test_scores_of_the_images(drawn):
    """Here, too, F1 is the harmonic mean of the two means, not the mean of the images' F1."""
    found = report(drawn)
    precision, recall, _ = by_sklearn(drawn, "samples")
    accuracy = sklearn_metrics.jaccard_score(
        drawn.truth, drawn.predicted, average="samples", zero_division=0
    )
    assert found["example_precision"] == pytest.approx(precision)
    assert found["example_recall"] == pytest.approx(recall)
    assert found["example_F1"] == pytest.approx(harmonic(precision, recall))
    assert found["example_accuracy"] == pytest.approx(100 * accuracy)
    exact = sklearn_metrics.accuracy_score(drawn.truth, drawn.predicted)
    assert found["exact_match"] == pytest.approx(100 * exact)


@pytest.mark.parametrize("drawn", CASES)
def test_scores_of_each_class(drawn):
    """AP of a class without a positive is NaN here, 0 in scikit-learn."""
    num_classes = drawn.truth.shape[1]
    records = class_records(range(num_classes), drawn.predicted, drawn.truth, drawn.scores)
    for name, values in zip(("precision", "recall", "F1"), by_sklearn(drawn, None)):
        assert [record[name] for record in records] == pytest.approx(values)
    for record, truth, scores in zip(records, drawn.truth.T, drawn.scores.T):
        expected = float("nan")
        if truth.any():
            expected = 100 * sklearn_metrics.average_precision_score(truth, scores)
        assert record["AP"] == pytest.approx(expected, nan_ok=True)


# Ranking ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("drawn", CASES)
def test_mean_average_precision(drawn):
    """Over classes with a positive; scikit-learn gives the rest 0, as `mAP_all_classes` does."""
    found, kept = report(drawn), drawn.truth.any(0)
    of_classes = [
        100 * sklearn_metrics.average_precision_score(truth, scores)
        for truth, scores in zip(drawn.truth.T[kept], drawn.scores.T[kept])
    ]
    if kept.any():
        assert found["mAP"] == pytest.approx(np.mean(of_classes))
    else:
        assert np.isnan(found["mAP"])
    assert found["mAP_all_classes"] == pytest.approx(sum(of_classes) / len(kept))


def test_ties_are_scored_together_in_any_order_of_the_images():
    """Precision at each positive's place in a sorted list, the common way, depends on it."""

    def at_each_place(truth, scores):
        ranked = truth[np.argsort(-scores, kind="stable")]
        precision = ranked.cumsum() / np.arange(1, len(ranked) + 1)
        return 100 * precision[ranked].mean()

    rng = np.random.default_rng(0)
    truth = rng.random((40, 1)) < 0.3
    scores = rng.random((40, 1)).round(1).astype(np.float32)
    ours, places = set(), set()
    for _ in range(10):
        rows = rng.permutation(40)
        ours.add(report(case([[]] * 40, truth[rows], scores[rows]))["mAP"])
        places.add(at_each_place(truth[rows, 0], scores[rows, 0]))
    (value,) = ours
    assert value == pytest.approx(100 * sklearn_metrics.average_precision_score(truth, scores))
    assert len(places) > 1
    untied = scores + np.linspace(0, 1e-3, 40, dtype=np.float32)[:, None]
    assert report(case([[]] * 40, truth, untied))["mAP"] == pytest.approx(
        at_each_place(truth[:, 0], untied[:, 0])
    )


# Order ------------------------------------------------------------------------------------------


def count_rigidness(sequences, num_classes):
    """Order-rigidness of sequences, pair by pair and image by image."""
    same = total = 0
    for a, b in combinations(range(num_classes), 2):
        together = [list(dict.fromkeys(s)) for s in sequences if a in s and b in s]
        a_first = sum(sequence.index(a) < sequence.index(b) for sequence in together)
        same += max(a_first, len(together) - a_first)
        total += len(together)
    return 100 * same / total if total else float("nan")


@pytest.mark.parametrize("drawn", CASES)
def test_rigidness_and_duplicates(drawn):
    found = report(drawn)
    rigidness = count_rigidness(drawn.sequences, drawn.truth.shape[1])
    assert found["rigidness"] == pytest.approx(rigidness, nan_ok=True)
    repeating = [len(set(sequence)) < len(sequence) for sequence in drawn.sequences]
    assert found["duplicates"] == pytest.approx(100 * np.mean(repeating))


@pytest.mark.parametrize("seed", range(12))
def test_rigidness_of_random_orders_is_the_mean_over_all_orders(seed):
    rng = np.random.default_rng(seed)
    label_sets = [
        rng.permutation(4)[: rng.integers(0, 4)].tolist() for _ in range(rng.integers(1, 6))
    ]
    num_images = len(label_sets)
    every = [count_rigidness(orders, 4) for orders in product(*map(permutations, label_sets))]
    drawn = case(label_sets, np.ones((num_images, 4), bool), np.ones((num_images, 4), np.float32))
    assert report(drawn)["rigidness_random"] == pytest.approx(np.mean(every), nan_ok=True)
