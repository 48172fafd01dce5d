import torch
from mmpretrain.registry import MODELS


def test_the_maximum_of_each_channel_of_each_stage():
    stages = (torch.randn(2, 3, 4, 5), -torch.rand(2, 6, 1, 2))  # negative values count as well
    pooled = MODELS.build(dict(type="GlobalMaxPooling"))(stages)
    assert [tuple(x.shape) for x in pooled] == [(2, 3), (2, 6)]
    for stage, maximum in zip(stages, pooled):
        assert torch.equal(maximum, stage.flatten(2).max(2).values)
