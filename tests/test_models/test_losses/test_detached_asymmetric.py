import pytest
import torch
from mmpretrain.models.losses import AsymmetricLoss

from mmorderless.models.losses.detached_asymmetric import DetachedAsymmetricLoss

SETTINGS = [dict(), dict(gamma_pos=1.0, gamma_neg=2.0, clip=0.2), dict(clip=0.0)]


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_value_is_that_of_mmpretrains_loss(example, settings):
    logits, target = example
    torch.testing.assert_close(
        DetachedAsymmetricLoss(**settings)(logits, target),
        AsymmetricLoss(**settings)(logits, target),
    )


def gradient(loss, p, label):
    logits = torch.tensor([[p, p]], dtype=torch.float64).logit().requires_grad_()
    value = loss(logits, torch.tensor([[label] * 2]))  # the mean over both
    return float(torch.autograd.grad(value, logits)[0].sum())


def test_the_gradient_is_the_focusing_weight_times_that_of_the_logarithm():
    loss, p, clip = DetachedAsymmetricLoss(), 0.7, 0.05
    q = 1 - p + clip
    assert gradient(loss, p, 0) == pytest.approx((1 - q) ** 4 * p * (1 - p) / q)
    assert gradient(loss, p, 1) == pytest.approx(p - 1)
    assert gradient(loss, 0.04, 0) == 0  # below the margin
    times = [gradient(AsymmetricLoss(), p, 0) / gradient(loss, p, 0) for p in (0.06, 0.3, 0.9)]
    assert times == pytest.approx([4.98, 4.45, 2.34], abs=0.01)


@pytest.mark.parametrize(
    "loss, rest", [(DetachedAsymmetricLoss(), 0.799), (AsymmetricLoss(), 0.684)]
)
def test_a_label_of_probability_one_half_rests_far_above(loss, rest):
    def mean_gradient(p):
        return gradient(loss, p, 1) + gradient(loss, p, 0)

    assert mean_gradient(rest - 0.001) < 0 < mean_gradient(rest + 0.001)
