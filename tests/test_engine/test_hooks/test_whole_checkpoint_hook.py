"""A kill or a full disk while a checkpoint is written leaves the earlier one."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend
from mmengine.model import BaseModel
from mmengine.runner import Runner

from mmorderless.engine.hooks.whole_checkpoint_hook import WholeCheckpointHook
from mmorderless.runs.checkpoint_files import existing_checkpoint, last_checkpoint


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1000))

    def forward(self, x, mode):
        return {"loss": (self.weight - x).square().mean()}


def runner(folder, epochs, max_keep_ckpts, resume=None):
    return Runner(
        Model(),
        str(folder),
        train_dataloader=dict(
            dataset=[dict(x=torch.full((1000,), float(i))) for i in range(4)],
            batch_size=2,
            sampler=dict(type="DefaultSampler", shuffle=False),
            collate_fn=dict(type="default_collate"),
        ),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1, momentum=0.9)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        default_hooks=dict(
            checkpoint=dict(type="WholeCheckpointHook", interval=1, max_keep_ckpts=max_keep_ckpts)
        ),
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


KILLED = """
import os, signal, sys
sys.path.insert(0, {tests!r})
import mmorderless
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
