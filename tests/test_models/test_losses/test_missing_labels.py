import pytest
import torch
import torch.nn.functional as F

from mmorderless.models.losses.missing_labels import HillLoss, SPLCLoss


def test_hill_example(example):
    logits, target = example
    loss = HillLoss()
    assert float(loss.entries(logits, target).sum()) == pytest.approx(1.397430, abs=1e-6)
    assert float(loss(logits, target)) == pytest.approx(0.174679, abs=1e-6)


def test_hill_does_not_push_down_a_negative_that_the_model_is_sure_of():
    p = torch.linspace(0.01, 0.999, 990, dtype=torch.float64)
    logits = p.logit().requires_grad_()
    HillLoss().entries(logits, torch.zeros(990)).sum().backward()
    torch.testing.assert_close(logits.grad, 3 * p**2 * (1 - p) ** 2)
    assert float(p[logits.grad.argmax()]) == pytest.approx(0.5, abs=1e-3)
    assert logits.grad[-1] < 1e-5


def splc(epoch, **settings):
    loss = SPLCLoss(**settings)
    loss.epoch = epoch
    return loss


def test_splc_example(example):
    logits, target = example
    assert float(splc(0).entries(logits, target).sum()) == pytest.approx(1.120602, abs=1e-6)
    assert float(splc(1).entries(logits, target).sum()) == pytest.approx(1.120602, abs=1e-6)
    sure = logits.clone()
    sure[1, 3] = 1.0
    before, after = (splc(epoch).entries(sure, target) for epoch in (0, 1))
    assert float(before.sum()) == pytest.approx(1.540547, abs=1e-6)
    assert float(after.sum()) == pytest.approx(0.861336, abs=1e-6)
    assert float(before[1, 3]) == pytest.approx(0.701868, abs=1e-6)
    assert float(after[1, 3]) == pytest.approx(0.022658, abs=1e-6)


def test_splc_corrects_negatives_above_its_threshold_alone():
    p = torch.tensor([[0.55, 0.62, 0.7]], dtype=torch.float64)
    negative, positive = (-x.log() * (1 - x) ** 2 for x in (1 - p, p))
    for threshold, corrected in [(0.6, [False, True, True]), (0.65, [False, False, True])]:
        expected = torch.where(torch.tensor([corrected]), positive, negative)
        entries = splc(1, threshold=threshold).entries(p.logit(), torch.zeros(1, 3))
        torch.testing.assert_close(entries, expected)


def test_positives_have_a_margin(example):
    logits, _ = example
    focal = -((1 - (logits - 1).sigmoid()) ** 2) * F.logsigmoid(logits - 1)
    for loss in (HillLoss(), splc(0), splc(1)):
        torch.testing.assert_close(loss.entries(logits, torch.ones(2, 4)), focal)


def test_the_threshold_is_a_probability():
    with pytest.raises(ValueError, match="threshold must be between 0 and 1, got 65"):
        SPLCLoss(threshold=65)
