"""Options for large runs, tried on a CPU."""

import json

import mmengine.optim.optimizer.amp_optimizer_wrapper as amp
import pytest
import torch
from mmengine.runner import Runner

from mmorderless.commands.train import train
from mmorderless.engine.schedules.sawtooth import sawtooth_factor
from mmorderless.runs import launch
from mmorderless.runs.options import parse_training_options

SWA = """
_base_ = 'tiny.py'
param_scheduler = dict(type='SawtoothLR')
default_hooks = dict(swa=dict(type='SWAHook', bn_batches=1))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}))
auto_scale_lr = dict(base_batch_size=32)
custom_hooks = []
"""
LR = 1e-2

BY_ITERATIONS = """
_base_ = 'tiny.py'
custom_imports = dict(imports=['mmorderless', 'probe', 'keep'], allow_failed_imports=False)
train_dataloader = dict(sampler=dict(type='InfiniteSampler'))
train_cfg = dict(_delete_=True, by_epoch=False, max_iters=5, val_interval=2)
default_hooks = dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=2))
custom_hooks = [dict(type='TrainingContextHook'), dict(type='Probe'), dict(type='Keep')]
"""

KEEP = """
import torch
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from mmorderless.engine.hooks.bare_model import bare_model


@HOOKS.register_module()
class Keep(Hook):
    def keep(self, runner, name):
        state = bare_model(runner).state_dict()
        torch.save(state, f'{runner.work_dir}/{name}{runner.iter}_rank{runner.rank}.pth')

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.keep(runner, 'trained')  # before the buffers are averaged, by the order of the hooks

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        self.keep(runner, 'validated')
"""

TRAIN_AS_RANK = """
import os
import sys

from torch import distributed

from mmorderless.commands.train import train

rank, store = int(sys.argv[1]), distributed.FileStore(sys.argv[2], 2)
os.environ['LOCAL_RANK'] = sys.argv[1]
distributed.init_process_group('gloo', store=store, rank=rank, world_size=2)
method = ['--cfg-options', f'method={os.environ["METHOD"]}']
train(['by_iterations.py', '--work-dir', 'w', '--launcher', 'pytorch', *method])
distributed.destroy_process_group()
"""


@pytest.fixture
def folder(project, monkeypatch):
    """A user's folder, for tools that are called in this process."""
    monkeypatch.chdir(project.folder)
    monkeypatch.syspath_prepend(project.folder)
    (project.folder / "swa.py").write_text(SWA)
    return project.folder


def train_with(*options):
    settings = ["train_cfg.max_epochs=2", "val_cfg=None", "val_dataloader=None"]
    settings += ["val_evaluator=None", *options]
    train(["swa.py", "--work-dir", "w", "--cfg-options", *settings])
    return torch.load("w/epoch_2.pth", weights_only=False)


@pytest.mark.parametrize("accumulate, updates", [(1, 10), (4, 3)])
def test_accumulation_is_one_option(folder, accumulate, updates):
    checkpoint = train_with(f"optim_wrapper.accumulative_counts={accumulate}")
    assert checkpoint["meta"]["iter"] == 10
    steps = {int(state["step"]) for state in checkpoint["optimizer"]["state"].values()}
    assert steps == {updates}
    assert checkpoint["param_schedulers"][0]["updates"] == updates
    assert (checkpoint["swa"]["updates"], checkpoint["swa"]["count"]) == (updates, updates // 4)
    rates = {group["lr"] for group in checkpoint["optimizer"]["param_groups"]}
    factor = sawtooth_factor(updates)
    assert sorted(rates) == pytest.approx([0.1 * LR * factor, LR * factor], rel=1e-12)


def test_linear_scaling_for_8_processes_of_32_images(folder, monkeypatch):
    monkeypatch.setattr(Runner, "world_size", 8)
    args = ["swa.py", "--work-dir", "w", "--auto-scale-lr", "--no-validate"]
    args += ["--cfg-options", "train_dataloader.batch_size=32", "train_cfg.max_epochs=1"]
    args += ["train_cfg.val_interval=100", "default_hooks.swa.begin=1000"]
    train(args)
    optimizer = torch.load("w/epoch_1.pth", weights_only=False)["optimizer"]
    bases = {group["initial_lr"] for group in optimizer["param_groups"]}
    assert sorted(bases) == pytest.approx([0.1 * 8 * LR, 8 * LR], rel=1e-12)
    rates = {group["lr"] for group in optimizer["param_groups"]}  # after one update
    factor = sawtooth_factor(1)
    assert sorted(rates) == pytest.approx([0.8 * LR * factor, 8 * LR * factor], rel=1e-12)


def test_amp_in_bf16_trains_and_validates(folder, monkeypatch):
    """With the CPU's autocast."""
    monkeypatch.setattr(launch, "get_device", lambda: "cuda")
    monkeypatch.setattr(amp, "is_cuda_available", lambda: True)
    features = []
    args = ["swa.py", "--work-dir", "w", "--amp", "bf16", "--no-pin-memory"]
    args += ["--cfg-options", "train_cfg.max_epochs=1"]
    set_dtypes = []
    with monkeypatch.context() as recorded:
        recorded.setattr(torch, "set_autocast_dtype", lambda *args: set_dtypes.append(args))
        runner = launch.build_runner(launch.training_config(parse_training_options(args)))
    assert set_dtypes == [("cuda", torch.bfloat16)]  # the validation's
    pre_logits = runner.model.head.pre_logits
    runner.model.head.pre_logits = lambda x: features.append(x[-1].dtype) or pre_logits(x)
    runner.train()
    assert type(runner.optim_wrapper).__name__ == "AmpOptimWrapper"
    assert set(features) == {torch.bfloat16}  # of training and validation
    assert not runner.optim_wrapper.loss_scaler.is_enabled()
    assert {weight.dtype for weight in runner.model.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", ["pla", "pla_prompted", "pla_queries", "bce_mlp", "class_queries", "known_sets"]
)
def test_processes_agree_on_weights_and_buffers_before_checkpoints_and_validations(
    method, project, run_two_processes, monkeypatch
):
    """In a loop that counts iterations, mmengine averages buffers only before validations."""
    monkeypatch.setenv("METHOD", method)
    (project.folder / "by_iterations.py").write_text(BY_ITERATIONS)
    (project.folder / "keep.py").write_text(KEEP)
    run_two_processes(TRAIN_AS_RANK)
    name = "backbone.bn1.running_mean"

    def load(file):
        return torch.load(project.folder / f"w/{file}.pth", weights_only=False)

    for iteration in (2, 4, 5):  # the last one, too
        validated = [load(f"validated{iteration}_rank{rank}") for rank in (0, 1)]
        saved = load(f"iter_{iteration}")["state_dict"]
        for state in validated:
            assert state.keys() == saved.keys()
            assert all(torch.equal(state[key], saved[key]) for key in saved)
    trained = [load(f"trained2_rank{rank}")[name] for rank in (0, 1)]
    assert not torch.equal(*trained)

    if method == "known_sets":  # those of the whole training set, not of a process's part
        assert saved["head.set_counts"].sum() == 20

    command = ("test.py", "tiny.py", "w/iter_5.pth", "--work-dir", "t", "--out", "m.json")
    tested = project.run(*command, "--cfg-options", f"method={method}")
    assert tested.returncode == 0, tested.stderr
    metrics = json.loads((project.folder / "m.json").read_text())
    for rank in (0, 1):
        validated = json.loads((project.folder / f"w/val_rank{rank}.json").read_text())
        assert validated == pytest.approx(metrics, nan_ok=True)
