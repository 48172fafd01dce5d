"""A small comparison: one training is killed, and the same command resumes it."""

import json

import numpy as np
import pytest
import torch

from mmorderless.commands.compare import compare
from mmorderless.commands.complete import complete

CONFIG = """
_base_ = 'tiny.py'
custom_imports = dict(imports=['mmorderless', 'probe', 'kill_pla'], allow_failed_imports=False)
model = dict(
    backbone=dict(_delete_=True, type='StridedCNN', channels=(8, 16)), head=dict(in_channels=16))
train_cfg = dict(max_epochs=2)
custom_hooks = [
    dict(type='TrainingContextHook'), dict(type='LabelSetReportHook'), dict(type='KillPLA')]
"""

# Kills PLA's training in its second epoch if KILL_PLA is set; logs the epochs of all attempts.
KILL_PLA = """
import os
import signal
from pathlib import Path

from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS


@HOOKS.register_module(force=True)
class KillPLA(Hook):
    def before_train_epoch(self, runner):
        with open(Path(runner.work_dir, 'epochs.txt'), 'a') as file:
            file.write(f'{runner.epoch + 1} ')

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if 'KILL_PLA' in os.environ and 'pla' in runner.work_dir and runner.epoch == 1:
            os.kill(os.getpid(), signal.SIGKILL)
"""

ARGUMENTS = [
    "small.py",
    "--methods",
    "bce",
    "pla",
    "--seeds",
    "0",
    "--val-split",
    "0.2",
    "--work-dir",
    "c",
    "--jobs",
    "2",
]


def test_a_comparison_killed_and_finished(project, repository, monkeypatch, capsys):
    (project.folder / "small.py").write_text(CONFIG)
    (project.folder / "kill_pla.py").write_text(KILL_PLA)
    runs = {method: project.folder / f"c/{method}/seed_0" for method in ("bce", "pla")}

    def epochs():
        return {method: (run / "epochs.txt").read_text().split() for method, run in runs.items()}

    killed = project.run("compare.py", *ARGUMENTS, KILL_PLA="1")
    assert killed.returncode == 1, killed.stderr
    assert "bce seed 0: C-F1 " in killed.stdout
    assert "pla seed 0 FAILED (exit code -9); the end of c/pla/seed_0/log.txt:" in killed.stdout
    assert "2 of 2 runs, " in killed.stdout
    assert killed.stderr.splitlines()[-1] == (
        "error: failed: pla seed 0; the same command resumes from there"
    )
    assert epochs() == {"bce": ["1", "2"], "pla": ["1", "2"]}
    # The finished run is in the report.
    assert "| BCE |" in (project.folder / "c/report/tables.md").read_text()

    # In this process, because starting another one takes longer than the work.
    monkeypatch.chdir(project.folder)
    monkeypatch.syspath_prepend(project.folder)
    monkeypatch.setenv("PYTHONPATH", f"{repository}:{project.folder}")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert compare(ARGUMENTS) == 0
    assert "1 of 2 runs are finished" in capsys.readouterr().out
    assert "resuming from" in (runs["pla"] / "log.txt").read_text()
    assert epochs() == {"bce": ["1", "2"], "pla": ["1", "2", "2"]}

    for method, run in runs.items():
        result = json.loads((run / "result.json").read_text())
        assert (result["method"], result["seed"]) == (method, 0)
        assert result["sequence"] == (method == "pla")
        assert result["operating_parameter"] == {"bce": "threshold", "pla": "end_bias"}[method]
        assert set(result["tuned"]) == {"CF1", "OF1"}
        cost = result["times_ms_per_image"]
        assert set(cost) == {"training", "forward", "alignment", "backward", "test"}
        aligns = cost["alignment"] is not None
        assert aligns == (method == "pla")
        times = json.loads((run.parent / "times.json").read_text())
        assert (times["backbone"], times["batch"], times["threads"]) == ("StridedCNN", 4, 1)
        assert times["views"] == 1
        assert result["loss_curve"][-1][0] == 2
        assert (run / result["checkpoint"]).name == "epoch_2.pth"
        assert [path.name for path in run.glob("*.pth")] == ["epoch_2.pth"]
        assert "optimizer" not in torch.load(run / "epoch_2.pth")  # only resuming needs it
        with np.load(run / "predictions.npz") as predictions:
            assert len(predictions["img_path"]) == 7
            assert ("sequence" in predictions) == (method == "pla")
            assert predictions["classes"].tolist() == ["ant", "bee", "cat", "dog"]
    report = project.folder / "c/report"
    tables = (report / "tables.md").read_text(encoding="utf-8")
    assert all(f"| {method} |" in tables for method in ("BCE", "PLA", "label prior"))
    assert (report / "report.html").is_file()

    known = ["--min-labels", "2", "--given", "0", "1", "--shares", "0", "50"]
    completes = ["--work-dir", "c", *known]
    assert complete(completes) == 0
    assert "pla seed 0: 0:0" in capsys.readouterr().out
    for run in runs.values():
        completion = json.loads((run / "completion.json").read_text())
        assert completion["num_images"] == 7
        result = json.loads((run / "result.json").read_text())
        assert completion["shares"]["0"]["mAP"] == pytest.approx(result["default"]["mAP"])
        assert completion["shares"]["0"]["OF1"] == pytest.approx(
            result["tuned"]["OF1"]["metrics"]["OF1"]
        )
    assert complete(completes) == 0
    assert "seed 0" not in capsys.readouterr().out  # finished
    assert "| PLA |" in (report / "completion.md").read_text(encoding="utf-8")
    assert (report / "completion.png").is_file()
