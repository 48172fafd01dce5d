import re

from mmorderless.comparison.plan import RESULT
from mmorderless.comparison.progress import JobProgress, tail
from mmorderless.runs.processes import Job, Step
from mmorderless.runs.records import write_json


def test_a_line_for_each_run_with_the_time_left(tmp_path, capsys):
    result = tmp_path / RESULT
    write_json(result, {"default": {"CF1": 60.123, "OF1": 70.0}})
    log = tmp_path / "log.txt"
    log.write_text("".join(f"line {i}\n" for i in range(40)))
    good, bad = (Job(name, [Step([], result)], log) for name in ("pla seed 0", "[b] seed 0"))
    with JobProgress("runs", 54, 10) as progress:
        progress.start(good)
        progress.start(bad)
        progress.end(good, 0)
        progress.end(bad, 1)
    lines = capsys.readouterr().out.splitlines()
    assert re.fullmatch(
        r"pla seed 0: C-F1 60\.12, O-F1 70\.00 in 0:00:0\d; 11 of 54 runs, 0:0\d:\d\d left",
        lines[0],
    )
    assert lines[1] == f"[b] seed 0 FAILED (exit code 1); the end of {log}:"
    assert lines[2:17] == [f"  | line {i}" for i in range(25, 40)]
    assert [line.partition(",")[0] for line in lines[17:]] == ["12 of 54 runs"]


def test_tail_shows_the_final_state_of_a_progress_bar(tmp_path):
    file = tmp_path / "log"
    file.write_bytes(b"a\n\n1/2\r2/2\r\nerror: \xff\n")
    assert tail(file, 2) == ["2/2", "error: \ufffd"]
    assert tail(file, 9) == ["a", "2/2", "error: \ufffd"]
