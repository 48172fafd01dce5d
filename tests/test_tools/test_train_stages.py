"""Train the three stages, kill the second, and run the same command again."""

from pathlib import Path

import pytest
import torch

from mmorderless.commands.train_stages import train_stages

BASE = """
_base_ = 'tiny.py'
custom_imports = dict(imports=['mmorderless', 'probe', 'keep'], allow_failed_imports=False)
model = dict(
    type='LabelSetClassifier',
    backbone=dict(_delete_=True, type='StridedCNN', channels=(8, 16)),
    head=dict(in_channels=16))
default_hooks = dict(checkpoint=dict(save_best='set/OF1', rule='greater'))
custom_hooks = [dict(type='Probe'), dict(type='Keep'), dict(type='DeterministicResumeHook'),
                dict(type='ValidateOnResumeHook')]
"""

STAGES = {
    "first": """
_base_ = 'base.py'
hand_over = 'best'
model = dict(
    type='ImageClassifier',
    neck=dict(type='GlobalAveragePooling'),
    head=dict(_delete_=True, type='MultiLabelLinearClsHead', num_classes=4, in_channels=16))
param_scheduler = dict(type='ReduceOnPlateauLR', monitor='set/OF1', rule='greater', patience=2)
train_cfg = dict(max_epochs=2)
""",
    "second": """
_base_ = 'base.py'
param_scheduler = dict(type='SawtoothLR')
default_hooks = dict(swa=dict(type='SWAHook'))
""",
    "third": """
_base_ = 'base.py'
model = dict(freeze_encoder=True)
train_cfg = dict(max_epochs=2)
""",
}

# Keeps the weights that a training starts with, and counts its epochs over all attempts.
KEEP = """
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS


@HOOKS.register_module()
class Keep(Hook):
    def before_train(self, runner):
        if runner.iter == 0:
            torch.save(runner.model.state_dict(), Path(runner.work_dir, 'start.pt'))

    def before_train_epoch(self, runner):
        with open(Path(runner.work_dir, 'epochs.txt'), 'a') as file:
            file.write(f'{runner.epoch + 1} ')
"""

COMMAND = ("train_stages.py", *(f"{name}.py" for name in STAGES), "--work-dir", "w")


def encoder(file: Path) -> dict[str, torch.Tensor]:
    weights = torch.load(file, weights_only=False)
    weights = weights.get("state_dict", weights)
    return {name: weights[name] for name in weights if name.startswith("backbone.")}


def same(a: dict, b: dict) -> bool:
    assert a.keys() == b.keys() != set()
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def stages(project):
    (project.folder / "base.py").write_text(BASE)
    (project.folder / "keep.py").write_text(KEEP)
    for name, config in STAGES.items():
        (project.folder / f"{name}.py").write_text(config)
    return project


def test_three_stages_killed_and_finished(stages, repository, monkeypatch, capfd):
    folder = stages.folder / "w"

    def epochs():
        return {path.parent.name: path.read_text().split() for path in folder.glob("*/epochs.txt")}

    killed = stages.run(*COMMAND, KILL_AT="2 1")
    assert killed.returncode == 137, killed.stderr
    assert killed.stderr.splitlines()[-1] == (
        "error: stage 2 of 3 (second) failed (exit code 137); run the same command to resume"
    )
    assert epochs() == {"first": ["1", "2"], "second": ["1", "2", "3"]}

    # In this process: the command takes longer to start than to work.
    monkeypatch.chdir(stages.folder)
    monkeypatch.syspath_prepend(stages.folder)
    monkeypatch.setenv("PYTHONPATH", f"{repository}:{stages.folder}")
    assert train_stages(COMMAND[1:]) == 0
    output = capfd.readouterr().out
    assert "== stage 1 of 3 (first): already finished" in output
    assert "resuming from" in output
    assert epochs() == {
        "first": ["1", "2"],
        "second": ["1", "2", "3", "3"],
        "third": ["1", "2"],
    }

    (best,) = folder.glob("first/best_*.pth")
    assert same(encoder(folder / "second/start.pt"), encoder(best))
    averaged = folder / "second/epoch_3.pth"
    raw = torch.load(averaged, weights_only=False)["swa"]["raw"]
    assert same(encoder(folder / "third/start.pt"), encoder(averaged))
    assert not torch.equal(
        raw["backbone.convolutions.0.weight"], encoder(averaged)["backbone.convolutions.0.weight"]
    )
    last = folder / "third/epoch_2.pth"
    assert same(encoder(last), encoder(averaged))
    heads = [
        torch.load(file, weights_only=False)["state_dict"]["head.decoder.classifier.weight"]
        for file in (averaged, last)
    ]
    assert not torch.equal(*heads)
    assert output.splitlines()[-4:] == [
        "== checkpoints of the stages",
        f"first: w/first/{best.name}",
        "second: w/second/epoch_3.pth",
        "third: w/third/epoch_2.pth",
    ]
