import pytest
import torch

from mmorderless.models.losses.two_way import TwoWayLoss


def test_example(example):
    logits, target = example
    loss, positive = TwoWayLoss(), target > 0
    by_image = [loss.mean_over_sets(logits[i : i + 1], positive[i : i + 1]) for i in range(2)]
    by_class = [loss.mean_over_sets(logits[:, [c]].T, positive[:, [c]].T) for c in range(4)]
    assert [float(x) for x in by_image] == pytest.approx([2.044395, 0.570698], abs=1e-6)
    assert [float(x) for x in by_class] == pytest.approx(
        [0.078890, 0.126928, 0.078890, 0], abs=1e-6
    )
    total = float(loss(logits, target))
    assert total == pytest.approx(1.402449, abs=1e-6)
    # Class 3 has no positive and is not counted.
    assert total == pytest.approx(float(sum(by_image) / 2 + sum(by_class) / 3))


def test_a_constant_added_to_all_logits_changes_nothing(example):
    logits, target = example
    loss, logits = TwoWayLoss(), logits.requires_grad_()
    torch.testing.assert_close(loss(logits + 7, target), loss(logits, target))
    loss(logits, target).backward()
    assert float(logits.grad.sum()) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("label", [0, 1])
def test_a_batch_without_positives_or_without_negatives_has_no_loss(label):
    logits = torch.randn(2, 3, requires_grad=True)
    loss = TwoWayLoss()(logits, torch.full((2, 3), label))
    loss.backward()
    assert float(loss.detach()) == 0
    assert (logits.grad == 0).all()


def test_only_an_images_own_positives_and_negatives_are_compared_however_low_they_are():
    low = torch.tensor([[-300.0, -301.0]], dtype=torch.float64)
    torch.testing.assert_close(
        TwoWayLoss().mean_over_sets(low, torch.tensor([[True, False]])),
        torch.tensor(-1.0, dtype=torch.float64).exp().log1p(),
    )


def test_gradients():
    logits = torch.randn(3, 4, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[0, 1, 1, 0], [0, 0, 0, 0], [1, 1, 1, 1]])
    assert torch.autograd.gradcheck(TwoWayLoss(), (logits, target))


@pytest.mark.parametrize("options", [dict(positive_temperature=0), dict(negative_temperature=-1)])
def test_temperatures_must_be_positive(options):
    with pytest.raises(ValueError, match="negative_temperature must be positive, got"):
        TwoWayLoss(**options)
