"""Differences between methods, with intervals over the test images."""

import re

import numpy as np
import pytest
import scipy.stats

from mmorderless.comparison.evaluation.predictions import DEFAULT, save_predictions
from mmorderless.comparison.plan import PREDICTIONS, RECORD, RESULT, expand
from mmorderless.comparison.report.intervals import write_intervals
from mmorderless.comparison.report.results import load_comparison
from mmorderless.labels.label_lists import ragged_labels
from mmorderless.metrics import set_scores
from mmorderless.metrics.records import Records
from mmorderless.runs.records import write_json

N, C = 300, 4
ERRORS = {"pla": 0.2, "bce": 0.2, "ocd": 0.1}


@pytest.fixture
def comparison(tmp_path):
    """Two seeds of three methods that get labels wrong with different probabilities."""
    generator = np.random.default_rng(0)
    truth = generator.random((N, C)) < 0.4
    write_json(tmp_path / RECORD, {"methods": list(ERRORS), "seeds": [0, 1]})
    sets = {}
    for run in expand(tmp_path, list(ERRORS), [0, 1]):
        wrong = generator.random((3, N, C)) < ERRORS[run.method]
        points = {}
        for point, errors in zip((DEFAULT, "CF1", "OF1"), wrong):
            labels = [
                ragged_labels([row.nonzero()[0] for row in m]) for m in (errors ^ truth, truth)
            ]
            scores = np.where(errors, 0.4, 0.6) * truth + 0.5 * (errors & ~truth)
            points[point] = Records(*labels, scores, sequence=None, ignored=None)
            sets[run.method, run.seed, point] = errors ^ truth
        run.folder.mkdir(parents=True)
        save_predictions(run.folder / PREDICTIONS, points, [""] * N, "abcd", {})
        write_json(run.folder / RESULT, {"method": run.method, "seed": run.seed})
    return tmp_path, sets, truth


def rows(folder, reference):
    text = (
        write_intervals(load_comparison(folder), reference)
        .read_text("utf-8")
        .replace("\N{MINUS SIGN}", "-")
    )
    found = {}
    for line in text.splitlines():
        numbers = [float(number) for number in re.findall(r"[-+]\d+\.\d+", line)]
        if numbers:
            found[line.split("|")[1].strip()] = np.reshape(numbers, (-1, 3))
    return found


def test_differences_are_those_of_the_test_set_and_lie_in_their_intervals(comparison):
    folder, sets, truth = comparison
    found = rows(folder, "pla")
    assert set(found) == {"BCE", "OCD"}
    for title, method in (("BCE", "bce"), ("OCD", "ocd")):
        for column, point in ((1, DEFAULT), (5, "OF1")):
            expected = np.mean(
                [
                    set_scores.overall_scores(sets[method, seed, point], truth)["OF1"]
                    - set_scores.overall_scores(sets["pla", seed, point], truth)["OF1"]
                    for seed in (0, 1)
                ]
            )
            assert found[title][column, 0] == pytest.approx(expected, abs=0.006)
    assert (found["OCD"][:, 1] > 0).all()  # half the errors: certainly better
    assert (found["BCE"][:, 1] < 0).sum() >= 5  # as many errors: mostly undecided
    assert (found["BCE"][:, 2] > 0).sum() >= 5


def test_swapping_method_and_reference_mirrors_the_interval(comparison):
    folder = comparison[0]
    one, other = rows(folder, "pla")["OCD"], rows(folder, "ocd")["PLA"]
    np.testing.assert_allclose(one, -other[:, [0, 2, 1]], atol=0.011)


def save(run, predicted, truth):
    """Write a finished run with the same label sets at every operating point."""
    lists = [ragged_labels([row.nonzero()[0] for row in matrix]) for matrix in (predicted, truth)]
    records = Records(*lists, predicted.astype(float), sequence=None, ignored=None)
    run.folder.mkdir(parents=True)
    points = dict.fromkeys((DEFAULT, "CF1", "OF1"), records)
    save_predictions(run.folder / PREDICTIONS, points, [""] * len(truth), "abcd", {})
    write_json(run.folder / RESULT, {"method": run.method, "seed": run.seed})


def test_the_interval_of_exact_matches_is_that_of_the_binomial_distribution(tmp_path):
    """BCE is right wherever PLA is, and on 30 more images, of the seed that both have."""
    truth = np.ones((N, C), dtype=bool)
    methods = {"pla": [(0, 120), (1, 10)], "bce": [(1, 40)]}
    write_json(tmp_path / RECORD, {"methods": list(methods), "seeds": [0, 1]})
    for method, seeds in methods.items():
        for seed, right in seeds:
            predicted = truth.copy()
            predicted[right:, 0] = False
            save(expand(tmp_path, [method], [seed])[0], predicted, truth)
    # The number of these 30 in a resample; the methods' own numbers vary as 40 ± 6 and 10 ± 3.
    expected = 100 * scipy.stats.binom(N, 30 / N).ppf([0.025, 0.975]) / N
    difference, *interval = rows(tmp_path, "pla")["BCE"][2]
    assert difference == 10
    assert interval == pytest.approx(expected, abs=0.4)  # more than a standard error of quantiles


def test_runs_of_other_images_are_an_error(comparison):
    folder = comparison[0]
    [run] = expand(folder, ["bce"], [1])
    with np.load(run.folder / PREDICTIONS) as arrays:
        other = {**arrays, "img_path": np.array(["other"] * N)}
    np.savez(run.folder / PREDICTIONS, **other)
    with pytest.raises(ValueError, match=r"pla seed 0 and bce seed 1 differ in the img_path of"):
        write_intervals(load_comparison(folder), "pla")


def test_errors(comparison):
    folder = comparison[0]
    with pytest.raises(ValueError, match=r"--intervals mla: .* no finished run.*pla, bce, ocd"):
        write_intervals(load_comparison(folder), "mla")
    [run] = expand(folder, ["bce"], [1])
    (run.folder / PREDICTIONS).unlink()
    with pytest.raises(ValueError, match=r"npz is missing or damaged .*; remove \S+result\.json"):
        write_intervals(load_comparison(folder), "pla")
