"""Every update has the paper's rate, for any number of batches per epoch and per update."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmorderless.engine.schedules.sawtooth import SawtoothLR, sawtooth_factor

FALL = [1, 1 - (1 - 1e-3) / 3, 1 - 2 * (1 - 1e-3) / 3, 1e-3]
EXACT = dict(rel=1e-12, abs=0)
LR, BACKBONE_LR = 1e-2, 1e-3


class Numbers(Dataset):
    metainfo = {}

    def __init__(self, size):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return {"numbers": torch.tensor([float(index)])}


class TwoLayers(BaseModel):
    def __init__(self):
        super().__init__()
        self.backbone, self.head = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)

    def forward(self, numbers, mode):
        return {"loss": self.head(self.backbone(torch.stack(numbers))).square().mean()}


class RateRecorder(Hook):
    """Records the learning rates at each optimizer step."""

    def __init__(self):
        self.rates = []

    def before_train(self, runner):
        def record(optimizer, args, kwargs):
            self.rates.append([group["lr"] for group in optimizer.param_groups])

        runner.optim_wrapper.optimizer.register_step_pre_hook(record)


def train(tmp_path, *, batches=5, epochs=3, accumulate=1, **settings):
    """Train two parameter groups per layer, the backbone's at a tenth; return the rates."""
    recorder = RateRecorder()
    config = dict(
        model=TwoLayers(),
        work_dir=str(tmp_path),
        experiment_name=f"{tmp_path.name}_{epochs}",
        train_dataloader=dict(
            dataset=Numbers(2 * batches),
            sampler=dict(type="DefaultSampler", shuffle=False),
            batch_size=2,
        ),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(
            optimizer=dict(type="Adam", lr=LR),
            accumulative_counts=accumulate,
            paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}),
        ),
        param_scheduler=dict(type="SawtoothLR"),
        custom_hooks=[recorder],
        default_scope="mmpretrain",
    )
    Runner(**{**config, **settings}).train()
    return recorder.rates


def assert_rates(rates, bases, updates, first=0):
    assert len(rates) == updates - first
    for k, found in enumerate(rates, start=first):
        assert found == pytest.approx([base * FALL[k % 4] for base in bases], **EXACT)


BASES = [BACKBONE_LR] * 2 + [LR] * 2


def test_factor_equals_the_paper():
    assert [sawtooth_factor(k) for k in range(9)] == pytest.approx([*FALL, *FALL, 1], **EXACT)


# 5 batches an epoch, 15 in all: the last update has what is left of them.
@pytest.mark.parametrize("accumulate, updates", [(1, 15), (2, 8), (3, 5), (4, 4)])
def test_each_update_has_its_rate(tmp_path, accumulate, updates):
    rates = train(tmp_path, accumulate=accumulate)
    assert_rates(rates, BASES, updates)


@pytest.mark.parametrize("accumulate, updates", [(1, 14), (4, 4)])
def test_in_a_training_by_iterations(tmp_path, accumulate, updates):
    train_cfg = dict(by_epoch=False, max_iters=14)
    sampler = dict(type="InfiniteSampler")
    loader = dict(dataset=Numbers(10), sampler=sampler, batch_size=2)
    rates = train(tmp_path, accumulate=accumulate, train_cfg=train_cfg, train_dataloader=loader)
    assert_rates(rates, BASES, updates)


def test_linear_scaling_changes_the_base(tmp_path):
    rates = train(tmp_path, auto_scale_lr=dict(base_batch_size=8, enable=True))
    assert_rates(rates, [base / 4 for base in BASES], 15)


@pytest.mark.parametrize("accumulate, updates_of_epoch", [(1, 5), (5, 1)])
def test_resumed_in_mid_cycle(tmp_path, accumulate, updates_of_epoch):
    options = dict(accumulate=accumulate)
    train(tmp_path, epochs=1, **options)
    checkpoint = torch.load(tmp_path / "epoch_1.pth", weights_only=False)
    assert checkpoint["param_schedulers"][0]["updates"] == updates_of_epoch
    resumed = train(tmp_path, resume=True, load_from=str(tmp_path / "epoch_1.pth"), **options)
    assert_rates(resumed, BASES, 3 * updates_of_epoch, first=updates_of_epoch)


def test_an_update_outside_of_a_batch_counts(tmp_path):
    class Flush(Hook):
        def after_train_epoch(self, runner):
            runner.optim_wrapper.step()
            runner.optim_wrapper.zero_grad()

    recorder = RateRecorder()
    train(tmp_path, accumulate=2, epochs=2, custom_hooks=[recorder, Flush()])
    assert_rates(recorder.rates, BASES, 5 + 2)


class SkippedByScaler(OptimWrapper):
    """Skips the optimizer's step, like AmpOptimWrapper at infinite gradients."""

    def __init__(self, skip, **settings):
        super().__init__(**settings)
        self.skip = skip
        self.calls = 0
        self.scaler = torch.amp.GradScaler("cpu", growth_interval=1000)

    def backward(self, loss):
        self.calls += 1
        infinite = float("inf") if self.calls in self.skip else 1.0
        self.scaler.scale(loss * infinite).backward()
        self._inner_count += 1

    def step(self):
        self.scaler.step(self.optimizer)
        self.scaler.update()


def test_an_update_that_the_loss_scaler_skips_counts():
    model = torch.nn.Linear(1, 1)
    wrapper = SkippedByScaler(skip=(2, 7), optimizer=torch.optim.SGD(model.parameters(), lr=LR))
    SawtoothLR(wrapper)
    made = []

    def record(optimizer, args, kwargs):
        made.append((wrapper.calls - 1, optimizer.param_groups[0]["lr"]))

    wrapper.optimizer.register_step_pre_hook(record)
    for _ in range(9):
        wrapper.update_params(model(torch.ones(1, 1)).sum())
    assert [k for k, _ in made] == [0, 2, 3, 4, 5, 7, 8]
    assert [rate for _, rate in made] == pytest.approx([LR * FALL[k % 4] for k, _ in made], **EXACT)


def test_other_schedulers_do_not_change_the_rate(tmp_path):
    momentum = dict(type="ConstantMomentum", factor=0.5, by_epoch=False)
    for schedulers in ([dict(type="SawtoothLR"), momentum], [momentum, dict(type="SawtoothLR")]):
        rates = train(tmp_path, param_scheduler=schedulers)
        assert_rates(rates, BASES, 15)
