"""A run's dataloaders and the errors of its checkpoint."""

from contextlib import nullcontext

import pytest
import torch
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from mmorderless.runs import checked_runner
from mmorderless.runs.checked_runner import CheckedRunner, check_options


def build(**options):
    sampler = options.pop("sampler", dict(type="DefaultSampler", shuffle=False))
    config = dict(dataset=[1, 2, 3], sampler=sampler, num_workers=0, **options)
    return CheckedRunner.build_dataloader(config)


def test_every_loader_is_bound_to_its_process(monkeypatch):
    bound = []
    monkeypatch.setattr(
        checked_runner, "bind_workers", lambda loader: bound.append(loader) or loader
    )
    loader = build(batch_size=2)
    assert (bound, loader.batch_size) == ([loader], 2)
    assert isinstance(loader, DataLoader)


def test_fewer_images_than_a_batch_are_an_error_if_it_is_dropped():
    assert len(build(batch_size=3, drop_last=True)) == 1
    assert len(build(batch_size=4)) == 1
    with pytest.raises(ValueError, match=r"3 images, fewer than batch_size=4; set .*drop_last=F"):
        build(batch_size=4, drop_last=True)
    build(batch_size=4, drop_last=True, sampler=dict(type="InfiniteSampler"))


@pytest.mark.parametrize(
    "error, line",
    [
        (
            KeyError("meta"),
            r"^w/a\.pth: missing key 'meta'; use a checkpoint that a training of this",
        ),
        (ValueError("no sums; do so"), r"^w/a\.pth: no sums; do so$"),
        (ValueError("w/a.pth is damaged"), r"^w/a\.pth is damaged$"),
    ],
)
def test_errors_while_a_checkpoint_is_loaded_name_it(error, line, monkeypatch):
    def fail(self):
        raise error

    monkeypatch.setattr(Runner, "load_or_resume", fail)
    runner = CheckedRunner.__new__(CheckedRunner)
    runner._load_from = "w/a.pth"
    with pytest.raises(ValueError, match=line):
        runner.load_or_resume()


@pytest.mark.parametrize("before, now", [("SGD", "Adam"), ("Adam", "SGD"), ("SGD", "SGD")])
def test_a_resumed_optimizer_must_be_of_the_same_kind(before, now):
    saved, optimizer = (
        getattr(torch.optim, kind)([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        for kind in (before, now)
    )
    optimizer.load_state_dict(saved.state_dict())
    error = f"no {'betas' if now == 'Adam' else 'dampening'}.*: it is no {now}; .*load_from"
    with nullcontext() if before == now else pytest.raises(ValueError, match=error):
        check_options(optimizer)
