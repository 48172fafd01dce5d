import logging

import pytest

from mmorderless.datasets import faults
from mmorderless.datasets.faults import collect_faults, report_cut_end, report_doubt


@pytest.fixture
def warnings(monkeypatch):
    lines = []

    def print_log(line, logger, level):
        assert (logger, level) == ("current", logging.WARNING)
        lines.append(line)

    monkeypatch.setattr(faults, "print_log", print_log)
    return lines


def test_a_doubt_is_a_warning_or_collected(warnings):
    report_doubt("first")
    with collect_faults() as collected:
        report_doubt("second")
    assert (warnings, collected) == (["first"], ["second"])


@pytest.mark.parametrize(
    "text, last", [("a,b\nc,sk", "'c,sk'"), ("a", "'a'"), ("a\r\n\r\nb", "'b'")]
)
def test_a_last_line_without_a_line_end(warnings, text, last):
    report_cut_end(text, "a.csv")
    (line,) = warnings
    assert line.startswith(f"a.csv: the last line, {last}, has no line end")


@pytest.mark.parametrize("text", ["", "\n", "a\n", "a\r\n", "a\r"])
def test_whole_last_lines(warnings, text):
    report_cut_end(text, "a.csv")
    assert warnings == []
