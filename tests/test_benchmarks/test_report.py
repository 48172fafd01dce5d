import json

import pytest
from benchmarks.report import Row, table


@pytest.mark.parametrize(
    "row, speed_up, met",
    [
        (Row("time", {}, "ms", [2.0], [50.0]), 25, None),
        (Row("time", {}, "ms", [2.0], [50.0], at_least=25), 25, True),
        (Row("time", {}, "ms", [2.1], [50.0], at_least=25), 50 / 2.1, False),
        (Row("time", {}, "ms", [6.0], [2.0], at_least=1 / 3), 1 / 3, True),
        (Row("memory", {}, "MB", [6.0], [12.0], at_least=4), 2, False),
        (Row("rate", {}, "images/s", [6.0], [2.0]), 3, None),
        (Row("share", {}, "%", [1.9], at_most=2), None, True),
        (Row("share", {}, "%", [2.1], at_most=2), None, False),
        (Row("memory", {}, "MB", [], [], at_least=4), None, None),
    ],
)
def test_speed_up_and_target(row, speed_up, met):
    assert row.speed_up == (speed_up if speed_up is None else pytest.approx(speed_up))
    assert row.met is met


def test_the_table_has_median_spread_and_target():
    row = Row("a", {"B": 2, "T": 3}, "ms", [1, 2, 3, 4, 5], [20.0] * 5, at_least=25)
    assert row.cells() == ["a", "B = 2, T = 3", "3 ± 2 ms", "20 ± 0 ms", "6.67×", "≥ 25×, missed"]
    row = Row("b", {}, "%", [0.123456], at_most=0.2)
    assert row.cells() == ["b", "", "0.123 %", "–", "–", "≤ 0.2 %, met"]
    assert Row("c", {}, "MB", []).cells()[2] == "–"
    lines = table([row, row]).splitlines()
    assert len(lines) == 4
    assert {line.count("|") for line in lines} == {7}


def test_the_record_is_json_with_every_sample():
    row = Row("a", {"B": 2}, "ms", [1.0, 2.0], at_most=3)
    saved = json.loads(json.dumps(row.record(), allow_nan=False))
    assert saved["ours"] == {"median": 1.5, "spread": 0.5, "samples": [1.0, 2.0]}
    assert (saved["baseline"], saved["speed_up"], saved["met"]) == (None, None, True)
    assert saved["at_most"] == 3
