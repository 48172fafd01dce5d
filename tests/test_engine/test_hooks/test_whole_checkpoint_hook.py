"""A kill or a full disk while a checkpoint is written leaves the earlier one."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.fileio import LocalBackend
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpretrain.registry import METRICS

from mmorderless.engine.hooks.whole_checkpoint_hook import WholeCheckpointHook
from mmorderless.runs.checkpoint_files import existing_checkpoint, last_checkpoint


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1000))

    def forward(self, x, mode):
        return {"loss": (self.weight - x).square().mean()} if mode == "loss" else [{}]


@METRICS.register_module(force=True)
class Progress(BaseMetric):
    """A score that is better after every epoch."""

    calls = 0

    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        Progress.calls += 1
        return {"a": Progress.calls, "b": Progress.calls}


def loader():
    return dict(
        dataset=[dict(x=torch.full((1000,), float(i))) for i in range(4)],
        batch_size=2,
        sampler=dict(type="DefaultSampler", shuffle=False),
        collate_fn=dict(type="default_collate"),
    )


def runner(folder, epochs, max_keep_ckpts, resume=None, **options):
    validation = {}
    if "save_best" in options:
        evaluator = dict(type="Progress")
        validation = dict(val_dataloader=loader(), val_cfg=dict(), val_evaluator=evaluator)
    return Runner(
        Model(),
        str(folder),
        train_dataloader=loader(),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        default_hooks=dict(
            checkpoint=dict(
                type="WholeCheckpointHook", interval=1, max_keep_ckpts=max_keep_ckpts, **options
            )
        ),
        **validation,
        load_from=resume,
        resume=resume is not None,
        default_scope="mmpretrain",
        experiment_name=f"{folder.name}_{epochs}_{resume is not None}",
    )


@pytest.mark.parametrize("kept", [1, 2])
def test_outdated_checkpoints_are_removed(kept, tmp_path):
    runner(tmp_path, 4, kept).train()
    names = sorted(path.name for path in tmp_path.glob("*.pth*"))
    assert names == [f"epoch_{epoch}.pth" for epoch in range(5 - kept, 5)]


def test_other_storage_is_left_alone(tmp_path):
    options = dict(out_dir="s3://bucket"), dict(file_client_args=dict(backend="petrel"))
    assert all(WholeCheckpointHook(**option).backend_args is None for option in options)
    assert WholeCheckpointHook(out_dir=str(tmp_path)).backend_args == dict(backend="whole_files")


def fill_the_disk(monkeypatch, after):
    """Let the disk be full in the middle of a checkpoint, `after` whole ones."""
    put, calls = LocalBackend.put, []

    def put_half(self, content, path):
        calls.append(path)
        if len(calls) <= after:
            return put(self, content, path)
        put(self, content[: len(content) // 2], path)
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(LocalBackend, "put", put_half)


@pytest.mark.parametrize("kept", [1, 2])
def test_a_full_disk_leaves_the_earlier_checkpoint_to_resume_from(kept, tmp_path, monkeypatch):
    runner(tmp_path / "whole", 4, kept).train()
    with monkeypatch.context() as patch:
        fill_the_disk(patch, after=2)
        with pytest.raises(OSError, match="No space left"):
            runner(tmp_path / "full", 4, kept).train()
    found = existing_checkpoint(last_checkpoint(tmp_path / "full"))
    assert Path(found).name == "epoch_2.pth"
    assert not list((tmp_path / "full").glob("*.partial"))
    runner(tmp_path / "full", 4, kept, resume=found).train()
    expected, resumed = (
        torch.load(tmp_path / name / "epoch_4.pth", weights_only=True)["state_dict"]["weight"]
        for name in ("whole", "full")
    )
    assert torch.equal(resumed, expected)


@pytest.mark.parametrize("save_best", ["a", ["a", "b"]])
def test_a_full_disk_leaves_the_best_checkpoint(save_best, tmp_path, monkeypatch):
    """The disk is full while the second best one is written; mmengine has removed the first."""
    with monkeypatch.context() as patch:
        per_epoch = 2 + len(save_best)  # epoch_N, best ones, epoch_N that names them
        fill_the_disk(patch, after=per_epoch + 1)
        with pytest.raises(OSError, match="No space left"):
            runner(tmp_path / "w", 3, 1, save_best=save_best, rule="greater").train()
    for name in save_best:
        existing_checkpoint(str(tmp_path / f"w/best_{name}_epoch_1.pth"))
    found = existing_checkpoint(last_checkpoint(tmp_path / "w"))
    options = dict(save_best=save_best, rule="greater")
    runner(tmp_path / "w", 3, 1, resume=found, **options).train()
    best = [f"best_{name}_epoch_3.pth" for name in save_best]
    assert sorted(path.name for path in (tmp_path / "w").glob("*.pth*")) == [*best, "epoch_3.pth"]


@pytest.mark.parametrize("save_best", ["a", ["a", "b"]])
def test_a_copied_folder_removes_nothing_in_the_original(save_best, tmp_path):
    options = dict(save_best=save_best, rule="greater")
    runner(tmp_path / "w", 1, 1, **options).train()
    shutil.copytree(tmp_path / "w", tmp_path / "copy")
    runner(tmp_path / "copy", 2, 1, str(tmp_path / "copy/epoch_1.pth"), **options).train()
    for folder, epoch in (("w", 1), ("copy", 2)):
        best = [f"best_{name}_epoch_{epoch}.pth" for name in save_best]
        found = sorted(path.name for path in (tmp_path / folder).glob("*.pth"))
        assert found == [*best, f"epoch_{epoch}.pth"]


@pytest.mark.parametrize("options", [dict(), dict(save_best="a", rule="greater")])
def test_a_new_file_of_the_same_name_is_kept(options, tmp_path):
    runner(tmp_path, 3, 1, filename_tmpl="newest.pth", **options).train()
    names = ["best_a_newest.pth", "newest.pth"] if options else ["newest.pth"]
    assert sorted(path.name for path in tmp_path.glob("*.pth")) == names


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import mmorderless
from mmengine.evaluator import BaseMetric
from mmengine.fileio import LocalBackend
from pathlib import Path
from test_whole_checkpoint_hook import runner

put = LocalBackend.put
def put_half(self, content, path):
    if "epoch_3" not in str(path):
        return put(self, content, path)
    put(self, content[: len(content) // 2], path)
    os.kill(os.getpid(), signal.SIGKILL)

LocalBackend.put = put_half
runner(Path({folder!r}), 4, 1).train()
"""


@pytest.mark.slow
def test_a_kill_leaves_the_earlier_checkpoint_to_resume_from(tmp_path, repository):
    program = KILLED.format(tests=str(Path(__file__).parent), folder=str(tmp_path / "w"))
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": str(repository)}
    )
    assert done.returncode == -signal.SIGKILL
    found = last_checkpoint(tmp_path / "w")
    assert Path(found).name == "epoch_2.pth"
    runner(tmp_path / "w", 4, 1, resume=found).train()
    assert sorted(path.name for path in (tmp_path / "w").glob("*.pth*")) == ["epoch_4.pth"]
