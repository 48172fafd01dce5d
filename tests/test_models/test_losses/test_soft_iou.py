"""Soft IoU: the worked example, and what it becomes in special cases."""

import pytest
import torch
from mmpretrain.registry import MODELS

from mmorderless.models.losses.soft_iou import SoftIoULoss

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0], [-0.5, 1.0, -2.0, 0.3]])
LABELS = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0]])


def test_worked_example():
    loss = MODELS.build(dict(type="SoftIoULoss"))
    assert loss(LOGITS, LABELS, avg_factor=2).item() == pytest.approx(0.552067, abs=1e-6)
    expected = torch.tensor([0.457101, 0.647034])
    torch.testing.assert_close(loss.entries(LOGITS, LABELS), expected, atol=1e-6, rtol=0)


def test_hard_probabilities_give_the_jaccard_distance():
    logits = torch.tensor([[99.0, 99, -99, -99, 99]])  # {0, 1, 4} against {1, 2, 4}: 2 of 4
    labels = torch.tensor([[0, 1, 1, 0, 1]])
    assert SoftIoULoss()(logits, labels).item() == pytest.approx(0.5)


def test_no_labels():
    logits = torch.tensor([[0.0, 1.0], [-1e4, -1e4]], requires_grad=True)
    loss = SoftIoULoss().entries(logits, torch.zeros(2, 2))
    assert loss.tolist() == pytest.approx([1, 0])
    assert torch.autograd.grad(loss.sum(), logits)[0].isfinite().all()


def test_gradients():
    logits = LOGITS.double().requires_grad_()
    loss = SoftIoULoss()
    assert torch.autograd.gradcheck(lambda z: loss.entries(z, LABELS.double()), logits)
