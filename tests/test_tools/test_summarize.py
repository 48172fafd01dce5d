import json
import subprocess
import sys


def summarize(repository, *arguments):
    command = [sys.executable, str(repository / "tools/summarize.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_table_has_a_row_per_model_and_a_dash_for_missing_metrics(repository, tmp_path):
    pla = {"set/CF1": 64.34, "set/OF1": 69.657, "set/mAP": 70, "set/duplicates": 0.04}
    (tmp_path / "pla.json").write_text(json.dumps({**pla, "set/rigidness": None}))
    result = summarize(repository, f"PLA={tmp_path / 'pla.json'}")
    header, _, row = result.stdout.strip().splitlines()[-3:]  # the host prints before
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["PLA", "64.34", "69.66", "70.00", "0.04", "–"]
    assert [cell.strip() for cell in header.strip("|").split("|")][1:3] == ["C-F1", "O-F1"]


def test_errors_are_one_line(repository, tmp_path):
    for argument, message in [
        ("pla.json", "expected NAME=METRICS.json, got 'pla.json'"),
        (f"PLA={tmp_path / 'none.json'}", "none.json"),
    ]:
        result = summarize(repository, argument)
        assert result.returncode == 1
        lines = [line for line in result.stderr.splitlines() if line.startswith("error:")]
        assert len(lines) == 1
        assert message in lines[0]
