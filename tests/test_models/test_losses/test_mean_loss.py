"""What all losses of multi-label heads have in common."""

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

CONFIGS = [
    dict(type="PriorWeightedBCELoss", positive_share=[0.1, 0.5, 0.9]),
    dict(type="DetachedAsymmetricLoss"),
    dict(type="HillLoss"),
    dict(type="SPLCLoss"),
    dict(type="LSEPLoss"),
    dict(type="SoftIoULoss"),
    dict(type="SoftmaxSquaredLoss"),
    dict(type="TargetDistributionLoss"),
]
TWO_WAY = dict(type="TwoWayLoss")  # of no entries, and without a weight
each_loss = pytest.mark.parametrize(
    "config", [*CONFIGS, TWO_WAY], ids=lambda config: config["type"]
)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config["type"])
def test_the_loss_is_the_mean_over_all_entries(config):
    loss, logits = MODELS.build(config), torch.randn(4, 3)
    target = torch.randint(0, 2, (4, 3)).float()
    mean = loss.entries(logits, target).mean()
    torch.testing.assert_close(loss(logits, target), mean)
    torch.testing.assert_close(loss(logits, target, avg_factor=4), mean)
    doubled = MODELS.build({**config, "loss_weight": 2.0})
    torch.testing.assert_close(doubled(logits, target), 2 * mean)


@each_loss
@pytest.mark.parametrize("size", [200, 1e4])
def test_extreme_logits_have_finite_losses_and_gradients(config, size):
    logits = torch.tensor([[size, -size, 0.0], [size, -size, 0.0]], requires_grad=True)
    loss = MODELS.build(config)(logits, torch.tensor([[1, 0, 1], [0, 1, 0]]))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@each_loss
def test_half_precision_is_computed_in_float32(config):
    loss, target = MODELS.build(config), torch.tensor([[0, 1, 1]])
    logits = torch.tensor([[-2.0, 1.5, 30.0]])  # exact in half precision
    assert torch.equal(loss(logits.half(), target), loss(logits, target))


@each_loss
def test_a_multi_label_head_trains_with_it(config):
    head = MODELS.build(
        dict(type="MultiLabelLinearClsHead", num_classes=3, in_channels=2, loss=config)
    )
    samples = [DataSample().set_gt_label(torch.tensor(y, dtype=torch.long)) for y in ([0, 2], [])]
    head.loss((torch.ones(2, 2),), samples)["loss"].backward()
    assert head.fc.weight.grad.abs().min() > 0
