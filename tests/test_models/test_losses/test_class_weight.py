"""Class weights equal PyTorch's and change neither the alignment nor END's weight."""

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS

from mmorderless.models.losses.aligned import MLALoss, PLALoss
from mmorderless.models.losses.optimal_completion import policy_cross_entropy

C = 5
WEIGHT = [0.5, 2.0, 0.0, 3.0, 1.5]
LABELS = [torch.tensor([0, 3]), torch.tensor([], dtype=torch.long), torch.tensor([1, 2, 4])]
CONFIGS = [
    dict(type="PLALoss"),
    dict(type="MLALoss"),
    dict(type="FixedOrderLoss", order="dictionary", classes=list("abcde")),
]


def head_config(loss):
    """Config of a head with a loss."""
    return dict(type="OrderlessRNNHead", num_classes=C, in_channels=2, max_steps=4, loss=loss)


@pytest.mark.parametrize("config", CONFIGS, ids=[config["type"] for config in CONFIGS])
def test_the_loss_is_pytorchs_weighted_mean(config):
    logits = torch.randn(3, 4, C + 1, requires_grad=True)
    loss = MODELS.build({**config, "class_weight": WEIGHT, "loss_weight": 2.0})
    tokens = MODELS.build(config).align(logits, LABELS)
    assert torch.equal(loss.align(logits, LABELS), tokens)
    expected = 2 * F.cross_entropy(
        logits.flatten(0, 1), tokens.flatten(), torch.tensor([*WEIGHT, 1.0])
    )
    value = loss(logits, LABELS)
    torch.testing.assert_close(value, expected)
    gradients = (torch.autograd.grad(x, logits)[0] for x in (value, expected))
    torch.testing.assert_close(*gradients)
    multi_hot = torch.stack([F.one_hot(labels, C).sum(0) for labels in LABELS])
    torch.testing.assert_close(loss(logits, multi_hot), expected)


def test_weights_of_one_change_nothing():
    logits = torch.randn(3, 4, C + 1)
    assert torch.equal(PLALoss(class_weight=[1] * C)(logits, LABELS), PLALoss()(logits, LABELS))


def test_a_class_of_weight_zero_is_not_trained_on():
    logits = torch.randn(1, 2, C + 1, requires_grad=True)
    MLALoss(class_weight=WEIGHT)(logits, [torch.tensor([2])]).backward()
    assert logits.grad[0, 0].abs().sum() == 0
    assert logits.grad[0, 1].abs().sum() > 0  # END


def test_a_policy_of_one_token_reduces_to_the_weighted_mean():
    logits, weight = torch.randn(3, 4, C + 1), torch.tensor([*WEIGHT, 1.0])
    tokens = torch.randint(C + 1, (3, 4))
    policy = F.one_hot(tokens, C + 1).float()
    expected = F.cross_entropy(logits.flatten(0, 1), tokens.flatten(), weight)
    torch.testing.assert_close(policy_cross_entropy(logits, policy, "local", weight), expected)


def test_a_policy_of_weight_zero_gives_no_loss():
    policy = F.one_hot(torch.full((1, 3), 2), C + 1).float()
    weight = torch.tensor([*WEIGHT, 1.0])
    assert policy_cross_entropy(torch.randn(1, 3, C + 1), policy, "local", weight) == 0


@pytest.mark.parametrize("kind", ["OCDLoss", "OrderSearchLoss"])
def test_losses_that_sample_use_the_weights(kind):
    grid, values = torch.randn(2, 6, 2), []
    for weights in (None, [1] * C, WEIGHT):
        torch.manual_seed(0)
        head = MODELS.build(head_config(dict(type=kind, class_weight=weights)))
        head.loss_module.reseed(0, 0, 0)
        labels = [torch.tensor([0]), torch.tensor([3, 4])]
        values.append(head.loss_module.forward_train(head.decoder, grid, labels, 4)["loss"])
    torch.testing.assert_close(values[1], values[0])
    assert not torch.isclose(values[2], values[0])


def test_weights_are_not_in_checkpoints():
    assert list(PLALoss(class_weight=WEIGHT).state_dict()) == []


@pytest.mark.parametrize(
    "weights, message",
    [
        ([1, -1, 1, 1, 1], "finite and not negative, got -1 for class 1; use 1"),
        ([1, 1, float("nan"), 1, 1], "finite and not negative, got nan for class 2; use 1"),
        ([1e300, 1, 1, 1, 1], r"finite and not negative, got 1e\+300 for class 0; use 1"),
        (["1"] * C, "must be a list of numbers, got .*; give one for each class"),
        (2.0, r"must be a list of numbers, got 2\.0; give one for each class"),
        ([1] * 4, "class_weight of PLALoss has 4 numbers for 5 classes; give one for each"),
    ],
)
def test_wrong_weights(weights, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(head_config(dict(type="PLALoss", class_weight=weights)))


def test_a_loss_without_a_head_checks_the_number_of_weights():
    with pytest.raises(ValueError, match="has 4 numbers for 5 classes"):
        PLALoss(class_weight=[1] * 4)(torch.randn(3, 4, C + 1), LABELS)
