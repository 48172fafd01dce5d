"""Target distribution: the worked example, and what it becomes in special cases."""

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS

from mmorderless.models.losses.target_distribution import TargetDistributionLoss

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0], [-0.5, 1.0, -2.0, 0.3]])
LABELS = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0]])


def test_worked_example():
    loss = MODELS.build(dict(type="TargetDistributionLoss"))
    assert loss(LOGITS, LABELS, avg_factor=2).item() == pytest.approx(0.831524, abs=1e-6)
    expected = torch.tensor([1.092350, 0.570698])
    torch.testing.assert_close(loss.entries(LOGITS, LABELS.float()), expected, atol=1e-6, rtol=0)


def test_one_label_is_softmax_cross_entropy():
    loss = TargetDistributionLoss()(LOGITS[1:], LABELS[1:])
    torch.testing.assert_close(loss, F.cross_entropy(LOGITS[1:], torch.tensor([1])))


def test_without_labels_the_target_is_uniform_over_all_classes():
    loss = TargetDistributionLoss()
    assert loss(LOGITS[:1], torch.zeros(1, 4)).item() == pytest.approx(1.967350, abs=1e-6)
    torch.testing.assert_close(loss(LOGITS, torch.zeros(2, 4)), loss(LOGITS, torch.ones(2, 4)))


def test_the_labels_distribution_is_the_optimum():
    logits = torch.tensor([[5.0, -50, 5, -50]], requires_grad=True)
    gradient = torch.autograd.grad(TargetDistributionLoss()(logits, LABELS[:1]), logits)[0]
    torch.testing.assert_close(gradient, torch.zeros(1, 4))
