from dataclasses import replace

from mmorderless.comparison.plan import RECORD, RESULT, expand, write_json
from mmorderless.comparison.tables import (
    ALL_TABLES,
    PRIOR,
    Column,
    Table,
    losses_of_reference,
    markdown,
    where_reference_loses,
    with_deviation,
    write_tables,
)

SCORE = Column("C-F1", ("default", "CF1"), paired=True)


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


def test_a_difference_to_pla_is_paired_by_seed():
    # Far apart between seeds, always 1 and 2 above PLA within them: 1.5 ± 0.7.
    results = results_of(mla=[11.0, 52.0], pla=[10.0, 50.0])
    text = markdown(Table("scores", [SCORE]), results, None)
    assert "| mla | 31.50 ± 28.99 | +1.50 ± 0.71 |" in text
    assert "| pla | 30.00 ± 28.28 |  |" in text


def test_it_says_where_pla_does_not_win_and_what_is_beyond_the_deviation():
    results = results_of(
        sure=[11.0, 52.0],  # 1.5 ± 0.7
        worse=[9.0, 49.0],
        unsure=[16.0, 48.0],  # 2 ± 5.7
        once=[11.0],  # below PLA's mean
        pla=[10.0, 50.0],
    )
    assert losses_of_reference(SCORE, results) == ["unsure (+2.00)", "sure (+1.50)*"]
    assert where_reference_loses(Table("", [SCORE]), results) == (
        "PLA does not win in C-F1: unsure (+2.00), sure (+1.50)*. (*: the mean of the paired "
        "differences exceeds their standard deviation.)"
    )
    less = replace(SCORE, better=-1)
    assert losses_of_reference(less, results) == ["once (-19.00)", "worse (-1.00)*"]


def test_it_says_so_when_pla_wins():
    results = results_of(bce=[1.0, 2.0], pla=[2.0, 2.0])
    note = where_reference_loses(Table("", [SCORE]), results)
    assert note == "No method is better than PLA in C-F1."
    assert where_reference_loses(Table("", [SCORE]), results_of(bce=[1.0])) == ""


def test_without_pla_there_are_no_differences():
    text = markdown(Table("scores", [SCORE]), results_of(bce=[1.0, 3.0]), None)
    assert "| method | C-F1 |" in text
    assert "| bce | 2.00 ± 1.41 |" in text


def test_a_value_that_is_the_same_for_every_seed_has_no_deviation():
    column = replace(SCORE, by_seed=False)
    results = results_of(bce=[1.0, 1.0], pla=[2.0, 2.0])
    assert "| bce | 1.00 | -1.00 |" in markdown(Table("", [column]), results, None)
    assert losses_of_reference(replace(column, better=-1), results) == ["bce (-1.00)"]


def test_methods_without_any_value_are_left_out_and_the_dial_is_named():
    tuned = {"dial": "end_bias", "tuned": {"CF1": {"value": 0.25, "metrics": {"CF1": 4.0}}}}
    other = {"dial": "end_bias", "tuned": {"CF1": {"value": -1.0, "metrics": {"CF1": 6.0}}}}
    results = {"pla": {0: tuned, 1: other}, "bce": {0: {"dial": "threshold"}}}
    table = Table(
        "", [Column("C-F1", ("tuned", "CF1", "metrics", "CF1"))], ("tuned", "CF1", "value")
    )
    text = markdown(table, results, None)
    assert "| pla | END bias 0.25, -1 | 5.00 ± 1.41 |" in text
    assert "bce" not in text


def test_all_tables_are_written_with_the_label_prior(tmp_path):
    write_json(tmp_path / RECORD, {"methods": ["bce", "pla"], "seeds": [0]})
    for run in expand(tmp_path, ["bce", "pla"], [0]):
        is_pla = run.method == "pla"
        metrics = {"CF1": 60.0 + is_pla, "OF1": 70.0, "duplicates": 5.0 if is_pla else None}
        result = {"method": run.method, "seed": 0, "dial": "threshold", "default": metrics}
        write_json(run.folder / RESULT, result)
    prior = {"dial": "threshold", "default": {"CF1": 7.0, "OF1": 8.0}}
    write_json(tmp_path / PRIOR, prior)
    text = write_tables(tmp_path).read_text(encoding="utf-8")
    assert all(f"## {table.title}" in text for table in ALL_TABLES)
    assert "| bce |  |  | 60.00 | -1.00 |  |  | 70.00 | +0.00 |  |  |" in text
    assert "| label prior |  |  | 7.00 |  |  |  | 8.00 |  |  |  |" in text
    assert text.count("label prior") == 1
