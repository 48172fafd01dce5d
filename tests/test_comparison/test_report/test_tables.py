import csv
from dataclasses import replace

import numpy as np
import pytest

from mmorderless.comparison.evaluation.predictions import DEFAULT, save_predictions
from mmorderless.comparison.plan import PREDICTIONS, PRIOR, RECORD, RESULT, expand
from mmorderless.comparison.report.filled_tables import fill_table
from mmorderless.comparison.report.markdown import write_tables
from mmorderless.comparison.report.rendering import render
from mmorderless.comparison.report.results import load_comparison
from mmorderless.comparison.report.runs_csv import write_runs
from mmorderless.comparison.report.summary import losses_of_reference, where_reference_loses
from mmorderless.comparison.report.tables import (
    ALL_TABLES,
    SIZE_TABLE,
    TIME_TABLE,
    Column,
    Table,
    with_deviation,
)
from mmorderless.labels.label_lists import ragged_labels
from mmorderless.metrics.records import Records
from mmorderless.runs.records import write_json

SCORE = Column("C-F1", ("default", "CF1"), paired=True)


def markdown(table, results, prior=None, note=""):
    filled = fill_table(table, results, prior, note)
    return render("tables.md", title="", caveats=[], tables=[filled])


def results_of(**values):
    return {
        method: {seed: {"default": {"CF1": value}} for seed, value in enumerate(own)}
        for method, own in values.items()
    }


def test_mean_and_sample_deviation_by_hand():
    assert with_deviation([1.0, 3.0], 2) == "2.00 ± 1.41"  # √((1 + 1) / 1)
    assert with_deviation([1.0, 2.0, 6.0], 1) == "3.0 ± 2.6"  # √((4 + 1 + 9) / 2)
    assert with_deviation([2.0], 2, "+") == "+2.00"
    assert with_deviation([], 2) == ""
    assert with_deviation([-2.0, -2.0], 1, "+") == "−2.0 ± 0.0"
    assert with_deviation([-0.001], 2, "+") == "+0.00"


def test_a_difference_to_pla_is_paired_by_seed():
    # Far apart between seeds, always 1 and 2 above PLA within them: 1.5 ± 0.7.
    results = results_of(mla=[11.0, 52.0], pla=[10.0, 50.0])
    text = markdown(Table("scores", [SCORE]), results)
    assert "| MLA | 31.50 ± 28.99 | +1.50 ± 0.71 |" in text
    assert "| PLA | 30.00 ± 28.28 | – |" in text


def test_methods_better_than_pla_are_named_with_marks_beyond_the_deviation():
    results = results_of(
        sure=[11.0, 52.0],  # 1.5 ± 0.7
        worse=[9.0, 49.0],
        unsure=[16.0, 48.0],  # 2 ± 5.7
        once=[11.25],  # below PLA's mean, above PLA of the same seed
        pla_gru=[10.001, 50.001],  # the table shows +0.00
        pla=[10.0, 50.0],
    )
    results["elsewhere"] = {7: {"default": {"CF1": 90.0}}}  # PLA has no such seed
    better = ["unsure (+2.00)", "sure (+1.50)*", "once (+1.25)"]
    assert losses_of_reference(SCORE, results) == better
    assert where_reference_loses(Table("", [SCORE]), results) == (
        "PLA does not win in C-F1: unsure (+2.00); sure (+1.50)*; once (+1.25). (*: the mean of "
        "the paired differences exceeds their standard deviation.)"
    )
    less = replace(SCORE, better=-1)
    assert losses_of_reference(less, results) == ["worse (−1.00)*"]


def test_no_duplicates_by_construction_are_marked():
    """The mark comes from how the run decoded, not from a list of methods."""
    [table] = [table for table in ALL_TABLES if table.title.startswith("Table 1")]
    results = {
        "own": {seed: {"default": {"duplicates": 0.0}, "no_repeat": True} for seed in (0, 1)},
        "mixed": {seed: {"default": {"duplicates": 0.0}, "no_repeat": not seed} for seed in (0, 1)},
        "pla": {0: {"default": {"duplicates": 0.0}, "no_repeat": False}},
        "older": {0: {"default": {"duplicates": 0.0}}},
    }
    text = markdown(table, results)
    for row in (
        "own (n=2) | 0.00 ± 0.00 † |",
        "mixed (n=2) | 0.00 ± 0.00 |",
        "older (n=1) | 0.00 |",
    ):
        assert f"| {row}" in text
    note = "† By construction: the method cannot emit a label twice."
    assert note in text
    del results["own"]
    assert note not in markdown(table, results)
    html = render(
        "tables.html",
        tables=[fill_table(table, {"own": {0: {**results["pla"][0], "no_repeat": True}}}, None)],
        show_differences=False,
    )
    assert "†</td>" in html
    assert note in html


def test_columns_that_cannot_be_compared_are_left_out():
    only_pla = Column("only PLA", ("default", "a"))
    never_pla = Column("never PLA", ("default", "b"))
    results = {
        "bce": {0: {"default": {"a": None, "b": 1.0, "CF1": 1.0}}},
        "pla": {0: {"default": {"a": 1.0, "CF1": 2.0}}},
    }
    table = Table("", [only_pla, never_pla])
    assert where_reference_loses(table, results) == ""
    table = Table("", [only_pla, never_pla, replace(SCORE, paired=False)])
    assert where_reference_loses(table, results) == "No method is better than PLA in C-F1."


def test_missing_times_are_dashes():
    times = {"forward": 2.0, "alignment": None, "backward": 3.0, "test": 1.0}
    results = {
        "bce": {0: {"times_ms_per_image": times}},
        "pla": {1: {"times_ms_per_image": {**times, "alignment": 0.5}}},
    }
    text = markdown(TIME_TABLE, results, note="Batch 64.")
    assert "| BCE | 2.00 | – | 3.00 | 1.00 |" in text
    assert text.splitlines()[-3:] == [
        "Batch 64.",
        "",
        "No method is better than PLA in forward, backward, test.",
    ]


def test_a_table_without_rows_is_not_written():
    results = results_of(bce=[1.0], pla=[2.0])
    assert fill_table(TIME_TABLE, results, None) is None
    prior = {"operating_parameter": "threshold", "default": {"CF1": 7.0}}
    assert fill_table(TIME_TABLE, results, prior) is None


def test_numbers_of_seeds_are_shown_if_they_differ():
    table = Table("", [SCORE])
    text = markdown(table, results_of(bce=[1.0], pla=[2.0, 3.0]))
    assert "| BCE (n=1) | 1.00 |" in text
    assert "| PLA (n=2) | 2.50 " in text
    assert "(n=" not in markdown(table, results_of(bce=[1.0], pla=[2.0]))
    once = Table("", [replace(SCORE, by_seed=False)])
    assert "(n=" not in markdown(once, results_of(bce=[1.0], pla=[2.0, 3.0]))


def test_the_note_if_no_method_is_better():
    results = results_of(bce=[1.0, 2.0], pla=[2.0, 2.0])
    note = where_reference_loses(Table("", [SCORE]), results)
    assert note == "No method is better than PLA in C-F1."
    assert where_reference_loses(Table("", [SCORE]), results_of(bce=[1.0])) == ""


def test_without_pla_there_are_no_differences():
    text = markdown(Table("scores", [SCORE]), results_of(bce=[1.0, 3.0]))
    assert "| method | C-F1 |" in text
    assert "| BCE | 2.00 ± 1.41 |" in text


def test_a_value_that_is_the_same_for_every_seed_has_no_deviation():
    column = replace(SCORE, by_seed=False)
    results = results_of(bce=[1.0, 1.0], pla=[2.0, 2.0])
    results["bce"][5] = results["bce"].pop(0)  # the seeds do not matter
    assert "| BCE | 1.00 | −1.00 |" in markdown(Table("", [column]), results)
    assert losses_of_reference(replace(column, better=-1), results) == ["BCE (−1.00)"]


def test_methods_without_a_value_are_left_out_and_the_operating_parameter_is_named():
    tuned = {
        "operating_parameter": "end_bias",
        "tuned": {"CF1": {"value": 0.25, "metrics": {"CF1": 4.0}}},
    }
    other = {
        "operating_parameter": "end_bias",
        "tuned": {"CF1": {"value": -1.0, "metrics": {"CF1": 6.0}}},
    }
    results = {"pla": {0: tuned, 1: other}, "bce": {0: {"operating_parameter": "threshold"}}}
    columns = [Column("C-F1", ("tuned", "CF1", "metrics", "CF1"))]
    table = Table("", columns, parameter=("tuned", "CF1", "value"))
    text = markdown(table, results)
    assert "| PLA (n=2) | END bias 0.25, −1 | 5.00 ± 1.41 |" in text
    assert "BCE" not in text


def save_sequences(file):
    """A sequence of one label, and three of two labels in other orders, one with a repeat."""
    truth = ragged_labels([[2], [0, 1], [0, 1], [0, 1]])
    sequences = ragged_labels([[2], [0, 1], [1, 0, 1], [0, 1]])
    scores = np.zeros((4, 3))
    records = Records(truth, truth, scores, sequence=sequences, ignored=None)
    save_predictions(file, {DEFAULT: records}, [""] * 4, "abc", {})


def test_all_tables_are_written_with_the_label_prior(tmp_path):
    write_json(tmp_path / RECORD, {"methods": ["bce", "pla"], "seeds": [0]})
    for run in expand(tmp_path, ["bce", "pla"], [0]):
        is_pla = run.method == "pla"
        metrics = {"CF1": 60.0 + is_pla, "OF1": 70.0, "exact_match": 9.0}
        metrics["duplicates"] = 5.0 if is_pla else None
        score = {"value": 0.5, "metrics": metrics}
        result = {
            "method": run.method,
            "seed": 0,
            "operating_parameter": "threshold",
            "default": metrics,
        }
        result["tuned"] = {"CF1": score, "OF1": score}
        result["times_ms_per_image"] = {"forward": 1.5, "alignment": None, "test": 0.5}
        if is_pla:
            result["mAP_by_score"] = {"max": 71.0, "beam": 72.0}
            result["threshold_by_score"] = {"max": {"CF1": score, "OF1": score}}
            save_sequences(run.folder / PREDICTIONS)
        write_json(run.folder / RESULT, result | {"sequence": is_pla})
        write_json(run.folder.parent / "times.json", {"batch": 64, "threads": 1})
    prior = {"operating_parameter": "threshold", "default": {"CF1": 7.0, "OF1": 8.0}}
    write_json(tmp_path / PRIOR, prior | {"known_sets": 85.04})
    text = write_tables(load_comparison(tmp_path)).read_text(encoding="utf-8")
    assert all(f"## {table.title}" in text for table in ALL_TABLES)
    assert "| BCE | 60.00 | −1.00 | 70.00 | +0.00 |" in text
    assert "| label prior | 7.00 | – | 8.00 | – |" in text
    assert text.count("label prior") == 1
    assert "| BCE | 1.50 | 0.50 |" in text
    assert "\nBatch 64, 1 thread.\n" in text
    # The kinds of score: mAP and F1 of the largest, mAP of the beam.
    assert "| PLA | 71.00 | 61.00 | 70.00 | 72.00 |" in text
    assert "\n85.0 % of the test images have a label set that occurs among the training" in text
    # By number of true labels: duplicates, rigidness, that of random orders.
    head, _, *rows = text.split(f"## {SIZE_TABLE.title}\n\n")[1].splitlines()
    assert head.startswith("| method | duplicates, 0 to 1 | duplicates, 2 to 3 | rigidness, 2 to 3")
    assert rows[0] == "| PLA | 0.00 | 33.33 | 66.67 | 75.00 |"
    assert rows[2].startswith("Test images by number of labels: 0 to 1: 1, 2 to 3: 3. Few images")


def test_each_run_is_a_row_of_the_csv(tmp_path):
    record = {"methods": ["bce", "pla"], "seeds": [0, 1], "settings": {}}
    write_json(tmp_path / RECORD, record)
    scores = {("bce", 0): 60.0, ("bce", 1): 61.0, ("pla", 1): 62.0}
    for (method, seed), score in scores.items():
        [run] = expand(tmp_path, [method], [seed])
        result = {"method": method, "seed": seed, "default": {"CF1": score, "duplicates": None}}
        write_json(run.folder / RESULT, result)
    text = write_runs(load_comparison(tmp_path)).read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    read = {(row["method"], int(row["seed"])): float(row["default.CF1"]) for row in rows}
    assert read == scores
    assert {row["default.duplicates"] for row in rows} == {""}
    assert {"tuned.OF1.metrics.OF1", "tuned.OF1.value", "times_ms_per_image.test"} <= {*rows[0]}


def test_caveats_come_first(tmp_path):
    record = {"methods": ["pla"], "seeds": [0], "settings": {"load_from": "w.pth"}}
    write_json(tmp_path / RECORD, record)
    [run] = expand(tmp_path, ["pla"], [0])
    write_json(run.folder / RESULT, {"method": "pla", "seed": 0, "default": {"CF1": 60.0}})
    text = write_tables(load_comparison(tmp_path)).read_text(encoding="utf-8")
    assert text.splitlines()[2].startswith("Weights from w.pth: if they were trained on the held")


@pytest.mark.parametrize("table", ALL_TABLES, ids=lambda table: table.title)
def test_columns_of_a_table_have_distinct_titles(table):
    titles = [column.title for column in table.columns]
    assert len(set(titles)) == len(titles)
