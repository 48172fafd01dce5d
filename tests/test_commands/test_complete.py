"""The command line of tools/complete.py, without the evaluation of the runs."""

import io
import json
from dataclasses import asdict

import pytest

from mmorderless.commands import complete as command
from mmorderless.comparison import runs as jobs_module
from mmorderless.comparison.evaluation.completion import COMPLETION, Settings
from mmorderless.comparison.plan import RESULT, expand
from mmorderless.comparison.runs import complete_runs
from mmorderless.runs.records import write_json


@pytest.fixture
def folder(tmp_path):
    """A comparison with a run of `mla` that is not finished."""
    write_json(tmp_path / "comparison.json", {"methods": ["bce", "pla", "mla"], "seeds": [0, 1]})
    for run in expand(tmp_path, ["bce", "pla", "mla"], [0, 1])[:5]:
        if run.method != "mla":
            write_json(run.folder / RESULT, {"method": run.method, "seed": run.seed})
    return tmp_path


@pytest.fixture
def complete(folder, monkeypatch):
    """Call the tool, and collect its runs instead of evaluating them."""
    calls = []

    def collect(runs, settings, jobs, lock):
        calls.append(([str(run) for run in runs], settings, jobs))
        return []

    monkeypatch.setattr(command, "complete_runs", collect)
    monkeypatch.setattr(command, "write_completion", lambda *_: [])

    def call(*words):
        assert command.complete(["--work-dir", str(folder), *words]) == 0
        return calls[-1]

    return call


def test_all_finished_runs_or_those_of_some_methods(complete):
    assert complete() == (
        ["bce seed 0", "bce seed 1", "pla seed 0", "pla seed 1"],
        Settings(4, [0, 1, 2, 3], [0, 25, 50, 75], 0),
        1,
    )
    words = (
        "--methods pla --given 1 0 1 --min-labels 3 --shares 50 --seed 7 --jobs 2 --default-point"
    )
    assert complete(*words.split()) == (
        ["pla seed 0", "pla seed 1"],
        Settings(3, [0, 1], [50], 7, chosen=False),
        2,
    )


@pytest.mark.parametrize(
    "words, message",
    [
        ("--methods mla ocd", "no finished run of mla, ocd; finished: bce, pla; run tools/compare"),
        ("--given 4", "--given 4 must be from 0 to one less than --min-labels 4"),
        ("--jobs 0", "--jobs must be at least 1"),
    ],
)
def test_what_does_not_fit_is_a_one_line_error(complete, words, message):
    with pytest.raises(ValueError, match=message) as error:
        complete(*words.split())
    assert "\n" not in str(error.value)


def test_a_folder_without_a_comparison(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no comparison\.json"):
        command.complete(["--work-dir", str(tmp_path)])


def test_runs_that_are_evaluated_are_not_repeated(folder, monkeypatch):
    started = []
    monkeypatch.setattr(jobs_module, "run_jobs", lambda jobs, *_: started.extend(jobs) or [])
    runs = expand(folder, ["bce", "pla"], [0])
    settings = json.loads(json.dumps(asdict(Settings())))
    write_json(runs[0].folder / COMPLETION, {"settings": settings, "checkpoint": "gone.pth"})
    write_json(
        runs[1].folder / COMPLETION, {"settings": {**settings, "seed": 1}, "checkpoint": "gone.pth"}
    )
    complete_runs(runs, Settings(), 1, io.StringIO())
    assert [job.name for job in started] == ["pla seed 0"]
    assert not (runs[1].folder / COMPLETION).exists()
    assert (runs[0].folder / COMPLETION).exists()
