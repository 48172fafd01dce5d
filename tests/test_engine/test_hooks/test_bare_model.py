from types import SimpleNamespace

import pytest
import torch
from mmengine.model import BaseModel, BaseTTAModel
from torch import nn

from mmorderless.engine.hooks.bare_model import bare_model
from mmorderless.engine.hooks.checkpoint_match_hook import CheckpointMatchHook
from mmorderless.engine.hooks.class_names_match_hook import ClassNamesMatchHook


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 3)
        self.head.num_classes = 3

    def forward(self, inputs, data_samples=None, mode="tensor"):
        return inputs


class Averaged(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, Averaged, lambda m: nn.DataParallel(Averaged(m))]
)
def test_wrappers_are_removed(wrap):
    model = Model()
    assert bare_model(SimpleNamespace(model=model)) is model
    assert bare_model(SimpleNamespace(model=wrap(model))) is model


def test_checks_of_a_test_with_augmentation_see_the_model():
    dataset = SimpleNamespace(metainfo={"classes": ("ant", "bee")})
    loader = SimpleNamespace(dataset=dataset)
    runner = SimpleNamespace(model=Averaged(Model()), test_dataloader=loader, _resume=False)
    weights = {"head.weight": torch.ones(3, 2), "head.bias": torch.zeros(3)}
    CheckpointMatchHook(complete=True).after_load_checkpoint(runner, {"state_dict": weights})
    assert runner.model.module.head.weight.eq(1).all()
    with pytest.raises(ValueError, match="the model has 3 classes, the test set has 2"):
        ClassNamesMatchHook().before_test(runner)
