import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS

from mmorderless.models.losses.mean_bce import MeanBCELoss


def test_example(example):
    assert float(MeanBCELoss()(*example)) == pytest.approx(0.422004, abs=1e-6)


@pytest.mark.parametrize("num_classes", [1, 5, 80])
@pytest.mark.parametrize("avg_factor", [4, None])
def test_the_mean_over_all_entries(num_classes, avg_factor):
    logits = torch.randn(4, num_classes, requires_grad=True)
    target = torch.randint(0, 2, (4, num_classes))
    loss = MODELS.build(dict(type="MeanBCELoss"))(logits, target, avg_factor=avg_factor)
    expected = F.binary_cross_entropy_with_logits(logits, target.float())
    torch.testing.assert_close(loss, expected)
    gradients = [torch.autograd.grad(value, logits)[0] for value in (loss, expected)]
    torch.testing.assert_close(*gradients)


def test_the_hosts_loss_is_larger_by_the_number_of_classes():
    logits, target = torch.randn(4, 7), torch.randint(0, 2, (4, 7))
    host = MODELS.build(dict(type="CrossEntropyLoss", use_sigmoid=True))
    ours = MeanBCELoss(loss_weight=2.0)
    torch.testing.assert_close(
        ours(logits, target, avg_factor=4), 2 * host(logits, target, avg_factor=4) / 7
    )


def test_images_can_be_weighted():
    logits, target = torch.randn(2, 3), torch.randint(0, 2, (2, 3))
    loss = MeanBCELoss()(logits, target, torch.tensor([0.0, 1.0]), avg_factor=1)
    torch.testing.assert_close(loss, MeanBCELoss()(logits[1:], target[1:]))
