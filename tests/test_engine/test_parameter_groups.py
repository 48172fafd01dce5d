"""Groups of equal options are merged, which changes no weight."""

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from torch import nn
from torch.utils.data import Dataset

from mmorderless.engine.parameter_groups import merge_groups
from mmorderless.runs.config import read_config


class Numbers(Dataset):
    metainfo = {}

    def __len__(self):
        return 10

    def __getitem__(self, index):
        return {"numbers": torch.tensor([index / 10, 1.0])}


class HeadFirst(BaseModel):
    """The head's weights come before, between and after the backbone's."""

    def __init__(self):
        super().__init__()
        self.head_in = nn.Linear(2, 3)
        self.backbone = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
        self.head_out = nn.Linear(4, 1)

    def forward(self, numbers, mode):
        x = self.backbone(self.head_in(torch.stack(numbers)))
        return {"loss": self.head_out(x).sub(1).square().mean()}


PLAIN, MERGED = "DefaultOptimWrapperConstructor", "MergedGroupsConstructor"
SAWTOOTH = dict(type="SawtoothLR")
WARM_UP = [
    dict(type="LinearLR", start_factor=0.01, end=1, convert_to_iter_based=True),
    dict(type="CosineAnnealingLR", begin=1, convert_to_iter_based=True),
]


def train(folder, constructor, schedule):
    """Train three epochs; return the weights and the number of parameter groups."""
    torch.manual_seed(0)
    runner = Runner(
        model=HeadFirst(),
        work_dir=str(folder),
        experiment_name=f"{folder.name}_{constructor}",
        train_dataloader=dict(
            dataset=Numbers(), sampler=dict(type="DefaultSampler", shuffle=False), batch_size=2
        ),
        train_cfg=dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(
            constructor=constructor,
            optimizer=dict(type="AdamW", lr=1e-2, weight_decay=0.1),
            paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}),
        ),
        param_scheduler=schedule,
        default_scope="mmpretrain",
    )
    runner.train()
    return runner.model.state_dict(), len(runner.optim_wrapper.optimizer.param_groups)


@pytest.mark.parametrize("schedule", [SAWTOOTH, WARM_UP], ids=["sawtooth", "warm-up"])
def test_weights_are_trained_as_in_groups_of_their_own(tmp_path, schedule):
    expected, groups = train(tmp_path / "plain", PLAIN, schedule)
    assert groups == 8
    merged, groups = train(tmp_path / "merged", MERGED, schedule)
    assert groups == 2
    for name, weight in expected.items():
        assert torch.equal(merged[name], weight), name


def test_groups_keep_the_order_of_their_first_weights():
    groups = [
        dict(params=["a"], lr=1.0),
        dict(params=["b"], lr=2.0, betas=[0.9, 0.99]),
        dict(params=["c", "d"], lr=1.0),
        dict(params=["e"], lr=2.0),
        dict(params=["f"], lr=2.0, betas=[0.9, 0.99]),
    ]
    assert merge_groups(groups) == [
        dict(params=["a", "c", "d"], lr=1.0),
        dict(params=["b", "f"], lr=2.0, betas=[0.9, 0.99]),
        dict(params=["e"], lr=2.0),
    ]
    assert groups[0] == dict(params=["a"], lr=1.0)


def test_the_coco_config_has_two_groups(repository):
    cfg = read_config(str(repository / "configs" / "coco" / "pla_resnet101_coco.py"))
    cfg.model.backbone.init_cfg = None
    model = MODELS.build(cfg.model)
    backbone, head = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    assert (backbone["lr"], head["lr"]) == (1e-4, 1e-3)
    assert len(backbone["params"]) == len(list(model.backbone.parameters()))
    assert len(head["params"]) == len(list(model.head.parameters()))
