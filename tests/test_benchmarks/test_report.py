import json

import pytest
import torch
from benchmarks.report import Report, Row, Target

from mmorderless.runs.machine import describe_machine


@pytest.mark.parametrize(
    "row, ratio, met",
    [
        (Row("time", {}, "ms", [2.0], [50.0]), 25, None),
        (Row("time", {}, "ms", [2.0], [50.0], Target(25, "gain")), 25, True),
        (Row("time", {}, "ms", [2.1], [50.0], Target(25, "gain")), 50 / 2.1, False),
        (Row("time", {}, "ms", [6.0], [2.0], Target(3, "cost")), 3, True),
        (Row("memory", {}, "MB", [6.0], [12.0], Target(1 / 4, "cost")), 0.5, False),
        (Row("rate", {}, "images/s", [6.0], [2.0]), 3, None),
        (Row("share", {}, "%", [1.9], target=Target(2, "value")), None, True),
        (Row("share", {}, "%", [2.1], target=Target(2, "value")), None, False),
        (Row("memory", {}, "MB", [], [], Target(1 / 4, "cost")), None, None),
    ],
)
def test_ratio_and_verdict(row, ratio, met):
    assert row.ratio == (ratio if ratio is None else pytest.approx(ratio))
    assert row.met is met


def test_the_table_says_median_spread_and_target():
    row = Row("a", {"B": 2, "T": 3}, "ms", [1, 2, 3, 4, 5], [20.0] * 5, Target(25, "gain"))
    assert row.cells() == ["a", "B = 2, T = 3", "3 ± 2 ms", "20 ± 0 ms", "6.67×", "≥ 25×, missed"]
    row = Row("b", {}, "%", [0.123456], target=Target(0.2, "value"))
    assert row.cells() == ["b", "", "0.123 %", "–", "–", "≤ 0.2 %, met"]
    assert Row("c", {}, "MB", [], note="not measured").cells()[2] == "not measured"
    table = Report({}, {"part": [row, row]}).table("part").splitlines()
    assert len(table) == 4
    assert {line.count("|") for line in table} == {7}


def test_the_record_is_json_with_every_sample():
    machine = describe_machine(torch.device("cpu"), "fp32")
    row = Row("a", {"B": 2}, "ms", [1.0, 2.0], target=Target(3, "value"))
    record = json.loads(json.dumps(Report(machine, {"part": [row]}).record(), allow_nan=False))
    assert record["machine"]["threads"] == torch.get_num_threads()
    assert torch.__version__.startswith(record["machine"]["versions"]["torch"])
    (saved,) = record["parts"]["part"]
    assert saved["ours"] == {"median": 1.5, "spread": 0.5, "samples": [1.0, 2.0]}
    assert (saved["reference"], saved["ratio"], saved["met"]) == (None, None, True)
