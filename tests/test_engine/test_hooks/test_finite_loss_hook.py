"""A training stops at the first loss that is not finite and saves nothing after it."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.engine.hooks.finite_loss_hook import FiniteLossHook, cause
from mmorderless.runs.checkpoint_files import last_checkpoint

LOSSES = {
    "BCE": dict(type="CrossEntropyLoss", use_sigmoid=True),
    "ASL": dict(type="AsymmetricLoss"),
    "CSRA": dict(type="CrossEntropyLoss", use_sigmoid=True),
}


def classifier(name):
    head = dict(type="MultiLabelLinearClsHead", num_classes=3, in_channels=2, loss=LOSSES[name])
    neck = dict(type="GlobalAveragePooling")
    if name == "CSRA":
        head |= dict(type="CSRAClsHead", num_heads=1, lam=0.1)
        neck = None
    backbone = dict(type="FeaturePassThrough")
    return MODELS.build(dict(type="ImageClassifier", backbone=backbone, neck=neck, head=head))


def examples(nan_at=None, score_at=None):
    found = []
    for i in range(8):
        sample = DataSample(metainfo=dict(img_path=f"photos/{i}.jpg")).set_gt_label([i % 3])
        if i == score_at:
            sample.set_gt_score([0.0, float("nan"), 1.0])
        value = float("nan") if i == nan_at else i / 8
        found.append(dict(inputs=torch.full((2, 4, 4), value), data_samples=sample))
    return found


class Model(BaseModel):
    """Its loss has finite values and gradients that are not."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))

    def forward(self, inputs, data_samples, mode):
        return {"loss": self.weight.sum().abs().sqrt()}


def runner(model, folder, dataset, epochs=2, hooks=(), by_epoch=True, resume=None, interval=1):
    train_cfg = dict(by_epoch=True, max_epochs=epochs, val_interval=10)
    if not by_epoch:
        train_cfg = dict(by_epoch=False, max_iters=4 * epochs)
    return Runner(
        model,
        str(folder),
        train_dataloader=dict(
            dataset=dataset,
            batch_size=2,
            sampler=dict(type="DefaultSampler" if by_epoch else "InfiniteSampler", shuffle=False),
            collate_fn=dict(type="default_collate"),
        ),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        train_cfg=train_cfg,
        default_hooks=dict(
            checkpoint=dict(type="WholeCheckpointHook", interval=interval, by_epoch=by_epoch)
        ),
        custom_hooks=[dict(type="FiniteLossHook"), *hooks],
        load_from=resume,
        resume=resume is not None,
        default_scope="mmpretrain",
        experiment_name=f"{folder.name}_{id(dataset)}",
    )


@pytest.mark.parametrize("name", LOSSES)
def test_every_head_stops_before_it_saves_and_names_the_image(name, tmp_path):
    error = r"loss is nan in iteration 3 \(epoch 1\), because .* photos/5\.jpg are not finite; corr"
    with pytest.raises(ValueError, match=error):
        runner(classifier(name), tmp_path, examples(nan_at=5)).train()
    assert not list(tmp_path.glob("*.pth"))


@pytest.mark.parametrize("by_epoch", [True, False])
def test_the_last_good_checkpoint_resumes(by_epoch, tmp_path):
    dataset = examples()

    class Spoil(Hook):
        """Give the last image a value that is not finite, from the second epoch on."""

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            if runner.iter == 7:
                data_batch["inputs"][1] = torch.inf

    model = classifier("BCE")
    # The hook sees a checkpoint every 4 iterations: one is due where the loss is not finite.
    interval = 1 if by_epoch else 4
    options = dict(by_epoch=by_epoch, interval=interval)
    with pytest.raises(ValueError, match=r"iteration 8 .*photos/7\.jpg"):
        runner(model, tmp_path, dataset, hooks=[Spoil()], **options).train()
    found = last_checkpoint(tmp_path)
    assert Path(found).name == ("epoch_1.pth" if by_epoch else "iter_4.pth")
    resumed = runner(classifier("BCE"), tmp_path, dataset, resume=found, **options)
    resumed.train()
    assert resumed.iter == 8
    assert all(weight.isfinite().all() for weight in resumed.model.parameters())


def test_finite_losses_with_gradients_that_are_not_leave_no_checkpoint(tmp_path):
    """The last iteration of a training has no later loss that would show it."""
    with pytest.raises(ValueError, match=r"the weight weight is not finite, .*; lower"):
        runner(Model(), tmp_path, examples()[:2], epochs=1).train()
    assert not list(tmp_path.glob("*.pth"))


def test_a_score_that_is_not_finite_is_named():
    batch = examples(score_at=1)[:2]
    samples = [example["data_samples"] for example in batch]
    batch = dict(inputs=torch.zeros(2, 2, 4, 4), data_samples=samples)
    assert "scores of photos/1.jpg are not finite" in cause(batch)


def test_without_a_culprit_the_first_images_and_a_remedy_are_named():
    samples = [example["data_samples"] for example in examples()[:5]]
    text = cause(dict(inputs=[torch.zeros(2)] * 5, data_samples=samples))
    assert text.startswith("with photos/0.jpg, photos/1.jpg, photos/2.jpg and 2 others; lower the")
    for batch in (None, [1], dict(x=1)):  # other models have other batches
        assert cause(batch).startswith("after a finite one; lower the learning rate")


SCRIPT = """
import sys
from types import SimpleNamespace
import torch
from torch import distributed
from mmorderless.engine.hooks.finite_loss_hook import FiniteLossHook

rank = int(sys.argv[1])
store = distributed.FileStore(sys.argv[2], 2)
distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
runner = SimpleNamespace(distributed=True, iter=4, epoch=0)
hook = FiniteLossHook()
hook.after_train_iter(runner, 0, {}, {"loss": torch.tensor(1.0), "accuracy": float("nan")})
try:
    hook.after_train_iter(runner, 0, {}, {"loss": torch.tensor([1.0, float("inf")][rank])})
except ValueError as error:
    assert str(error).startswith("loss is inf in iteration 5"), error
else:
    raise AssertionError(f"rank {rank} goes on and saves")
"""


@pytest.mark.slow
def test_every_process_stops_when_the_loss_of_one_is_not_finite(run_two_processes):
    run_two_processes(SCRIPT)


def test_only_losses_are_checked():
    state = SimpleNamespace(distributed=False, iter=0, epoch=0)
    FiniteLossHook().after_train_iter(state, 0, None, None)
    FiniteLossHook().after_train_iter(state, 0, None, {"loss": 1.0, "accuracy": float("nan")})
    with pytest.raises(ValueError, match="loss_cls is inf in iteration 1"):
        FiniteLossHook().after_train_iter(state, 0, None, {"loss_cls": float("inf")})
