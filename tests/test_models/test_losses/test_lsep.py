"""The log-sum-exp pairwise loss equals its double sum and sees differences of logits only."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS

from mmorderless.models.losses.lsep import LSEPLoss, log_sum_exp_pairwise

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0], [-0.5, 1.0, -2.0, 0.3]])
LABELS = torch.tensor([[1, 0, 1, 0], [0, 1, 0, 0]])


def random_batch(dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5, generator=generator, dtype=dtype)
    labels = torch.rand(6, 5, generator=generator) < 0.5
    labels[0], labels[1] = False, True
    return logits, labels


def test_worked_example():
    logits = LOGITS.clone().requires_grad_()
    loss = MODELS.build(dict(type="LSEPLoss"))(logits, LABELS, avg_factor=2)
    loss.backward()
    per_image = log_sum_exp_pairwise(LOGITS, LABELS)
    torch.testing.assert_close(per_image, torch.tensor([0.700512, 0.570698]), atol=1e-6, rtol=0)
    assert loss.item() == pytest.approx(0.635605, abs=1e-6)
    row = torch.tensor([-0.045941, 0.067729, -0.205893, 0.184106])
    torch.testing.assert_close(logits.grad[0], row, atol=1e-6, rtol=0)


def test_images_do_not_mix():
    """A copy that adds (B, 1) to (B,) gives 0.738360 here."""
    logits = LOGITS.clone()
    logits[1, 1] = 3
    assert LSEPLoss()(logits, LABELS).item() == pytest.approx(0.399790, abs=1e-6)


def test_equals_the_double_sum():
    logits, labels = random_batch()
    for loss, z, y in zip(log_sum_exp_pairwise(logits, labels), logits, labels):
        pairs = [math.exp(v - u) for u in z[y].tolist() for v in z[~y].tolist()]
        assert loss.item() == pytest.approx(math.log1p(sum(pairs)))


def test_one_label_is_softmax_cross_entropy():
    torch.testing.assert_close(
        log_sum_exp_pairwise(LOGITS[1:], LABELS[1:]),
        F.cross_entropy(LOGITS[1:], torch.tensor([1]), reduction="none"),
    )


def test_a_common_offset_changes_nothing():
    logits, labels = random_batch()
    logits.requires_grad_()
    loss = log_sum_exp_pairwise(logits, labels)
    torch.testing.assert_close(log_sum_exp_pairwise(logits + 7, labels), loss)
    gradient = torch.autograd.grad(loss.sum(), logits)[0]
    torch.testing.assert_close(gradient.sum(1), torch.zeros(6, dtype=torch.float64))


def test_gradients():
    logits, labels = random_batch()
    logits.requires_grad_()
    assert torch.autograd.gradcheck(log_sum_exp_pairwise, (logits, labels))


def test_an_image_with_no_or_all_labels_has_no_loss():
    logits, labels = random_batch(torch.float32)
    logits.requires_grad_()
    loss = log_sum_exp_pairwise(logits, labels)
    assert loss[:2].tolist() == [0, 0]
    assert torch.autograd.grad(loss.sum(), logits)[0][:2].eq(0).all()
