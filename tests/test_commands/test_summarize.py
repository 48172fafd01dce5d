import json

import pytest

from mmorderless.commands.summarize import main
from mmorderless.errors import run_tool


def test_table_has_a_row_per_model_and_a_dash_for_missing_metrics(tmp_path, capsys):
    pla = {"set/CF1": 64.34, "set/OF1": 69.657, "set/mAP": 70, "set/duplicates": 0.04}
    (tmp_path / "pla.json").write_text(json.dumps({**pla, "set/rigidness": None}))
    main([f"PLA={tmp_path / 'pla.json'}"])
    header, _, row = capsys.readouterr().out.splitlines()
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == ["PLA", "64.34", "69.66", "70.00", "0.04", "–"]
    assert [cell.strip() for cell in header.strip("|").split("|")][1:3] == ["C-F1", "O-F1"]


def test_errors_are_one_line(tmp_path, capsys):
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "cut.json").write_text('{"set/CF1": 6')
    for argument, message in [
        (f"PLA={tmp_path / 'list.json'}", f"{tmp_path}/list.json is not a JSON object; give"),
        (f"PLA={tmp_path / 'cut.json'}", f"{tmp_path}/cut.json is not a JSON object; give"),
        ("pla.json", "expected NAME=METRICS.json, got 'pla.json'"),
        (f"PLA={tmp_path / 'none.json'}", "none.json"),
    ]:
        with pytest.raises(SystemExit) as ended:
            run_tool(main, [argument])
        assert ended.value.code == 1
        lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
        assert len(lines) == 1
        assert lines[0].startswith("error:")
        assert message in lines[0]
