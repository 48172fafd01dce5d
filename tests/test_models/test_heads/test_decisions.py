"""Learned decisions: the losses that train them, and the label sets that they choose."""

import math

import pytest
import torch
from mmpretrain.registry import MODELS
from torch.nn.init import constant_, zeros_

from mmorderless.models.heads.decisions import choose_best

LOGITS = torch.tensor([[2.0, -1.0, 0.5, 0.0], [-0.5, 1.0, -2.0, 0.3]])
LABELS = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0]])
FEATURES = torch.zeros(2, 3)


def make(type, output=None, **options):
    """Build a decision whose network returns `output` for every image."""
    torch.manual_seed(0)
    decision = MODELS.build(dict(type=type, num_classes=4, in_channels=3, **options))
    if output is not None:
        zeros_(decision.net[-1].weight)
        decision.net[-1].bias.data = torch.tensor(output)
    return decision


def sets(chosen):
    return [row.nonzero()[:, 0].tolist() for row in chosen]


def test_the_classes_with_the_largest_logits_are_chosen():
    for k in range(6):
        chosen = choose_best(LOGITS, torch.tensor([k, 1]))
        assert chosen.sum(1).tolist() == [min(k, 4), 1]
        assert sets(chosen)[1] == [1]
    assert sets(choose_best(LOGITS, torch.tensor([2, 0]))) == [[0, 2], []]
    assert sets(choose_best(torch.zeros(1, 4), torch.tensor([2]))) == [[0, 1]]


def test_thresholds_worked_example():
    decision = make("ThresholdDecision", [0.5] * 4)
    loss = decision.auxiliary_loss(FEATURES[:1], LOGITS[:1], LABELS[:1])["loss_decision"]
    assert loss.item() == pytest.approx(0.392513, abs=1e-6)
    assert 4 * loss.item() == pytest.approx(1.570050, abs=1e-6)
    scores, chosen = decision(FEATURES, LOGITS)
    torch.testing.assert_close(scores, (LOGITS - 0.5).sigmoid())
    assert sets(chosen) == [[0, 2], [1]]  # 0.5 ≥ 0.5


def test_thresholds_are_estimated_for_each_image():
    decision = make("ThresholdDecision", widths=(5, 2))
    constant_(decision.net[-1].bias, 10)
    _, chosen = decision(torch.randn(2, 3), LOGITS)
    assert sets(chosen) == [[], []]
    assert [layer.out_features for layer in decision.net[::3]] == [5, 2, 4]


def test_count_worked_example():
    decision = make("CountDecision", [0.0, 1, 2, 0], max_count=3)
    loss = decision.auxiliary_loss(FEATURES[:1], LOGITS[:1], LABELS[:1])["loss_decision"]
    assert loss.item() == pytest.approx(0.493812, abs=1e-6)
    scores, chosen = decision(FEATURES, LOGITS)
    torch.testing.assert_close(scores, LOGITS.sigmoid())
    assert sets(chosen) == [[0, 2], [1, 3]]


def test_more_labels_count_as_the_largest_count():
    decision = make("CountDecision", [0.0, 0, 3], max_count=2, loss_weight=0.1)
    full = torch.ones(1, 4)
    loss = decision.auxiliary_loss(FEATURES[:1], LOGITS[:1], full)["loss_decision"]
    assert loss.item() == pytest.approx(0.1 * math.log1p(2 * math.exp(-3)))
    assert make("CountDecision").net[0].out_features == 5  # 0 … C
    assert make("CountDecision", max_count=9).net[0].out_features == 5
    with pytest.raises(ValueError, match="max_count must be at least 1, got 0"):
        make("CountDecision", max_count=0)
    with pytest.raises(ValueError, match="widths must be a list of positive integers, got 100"):
        make("CountDecision", widths=100)


def test_mass_worked_example():
    decision = make("MassDecision")
    scores, chosen = decision(FEATURES, LOGITS)
    expected = torch.tensor([0.7101, 0.0354, 0.1584, 0.0961])
    torch.testing.assert_close(scores[0], expected, atol=1e-4, rtol=0)
    assert sets(chosen) == [[0], [1]]
    assert decision.auxiliary_loss(FEATURES, LOGITS, LABELS) == {}


@pytest.mark.parametrize(
    "mass, labels", [(0.1, [0]), (0.72, [0, 2]), (0.9, [0, 2, 3]), (1, [0, 1, 2, 3])]
)
def test_classes_are_chosen_until_they_hold_the_mass(mass, labels):
    assert sets(make("MassDecision", mass=mass)(FEATURES, LOGITS)[1])[0] == labels
    for wrong in (0, 1.1):
        with pytest.raises(ValueError, match=rf"mass must be above 0 and at most 1, got {wrong}"):
            make("MassDecision", mass=wrong)


def quantities(values, max_count=4):
    """Build a decision and features of which its numbers of labels are these."""
    decision = make("QuantityDecision", [0.0], max_count=max_count)
    constant_(decision.net[-1].weight, 1)
    share = torch.tensor(values)[:, None] / max_count
    return decision, share.logit() * torch.tensor([1.0, 0, 0])


def test_quantity_worked_example():
    decision, features = quantities([2.4, 0.6])
    torch.testing.assert_close(decision.quantity(features), torch.tensor([2.4, 0.6]))
    loss = decision.auxiliary_loss(features, LOGITS, LABELS)["loss_decision"]
    assert loss.item() == pytest.approx(0.16, abs=1e-6)
    scores, chosen = decision(features, LOGITS)
    torch.testing.assert_close(scores, LOGITS.sigmoid())
    assert chosen.sum(1).tolist() == [2, 1]  # rounded; truncated it would be 2, 0
    assert choose_best(LOGITS, decision.quantity(features).floor()).sum(1).tolist() == [2, 0]
    assert sets(chosen) == [[0, 2], [1]]


def test_quantities_are_between_none_and_the_largest_count():
    decision, _ = quantities([])
    features = torch.tensor([[-99.0, 0, 0], [99.0, 0, 0]])
    assert decision(features, LOGITS)[1].sum(1).tolist() == [0, 4]
    assert make("QuantityDecision", max_count=9).max_count == 4


def test_hidden_layers_of_the_quantity_have_dropout():
    decision = make("QuantityDecision", widths=(8, 8), dropout=0.5)
    features = torch.ones(64, 3)
    assert len(decision.quantity(features).unique()) > 1
    assert len(decision.eval().quantity(features).unique()) == 1
