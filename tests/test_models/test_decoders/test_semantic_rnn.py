import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.decoders.semantic_rnn import SemanticRNN

B, L, D, C = 4, 3, 9, 5


def make(**options):
    torch.manual_seed(1)
    return SemanticRNN(C, D, hidden_size=8, embed_size=4, **options)


def invisible(decoder):
    """Vector (D,) that can be added to every cell without changing any class probability."""
    weight = decoder.image_classifier.linear.weight.detach()  # (C, D), C < D
    return torch.linalg.svd(weight).Vh[-1] * 10


def test_images_of_equal_class_probabilities_get_equal_sequences():
    decoder = make().eval()
    grid = torch.randn(B, L, D)
    twin = grid + invisible(decoder)
    assert not torch.allclose(grid, twin)
    torch.testing.assert_close(
        decoder.rollout(grid, 5).logits, decoder.rollout(twin, 5).logits, atol=1e-4, rtol=1e-4
    )
    other = (
        grid + decoder.image_classifier.linear.weight[0].detach() * 10
    )  # class 0 becomes more probable
    assert not torch.allclose(decoder.rollout(grid, 5).logits, decoder.rollout(other, 5).logits)


def test_the_gradient_of_the_sequence_reaches_the_image_through_the_probabilities_alone():
    decoder = make()
    grid = torch.randn(B, L, D, requires_grad=True)
    decoder.training_rollout(grid, [3] * B).logits.square().sum().backward()
    assert (grid.grad.abs().sum((1, 2)) > 0).all()
    torch.testing.assert_close(grid.grad @ invisible(decoder), torch.zeros(B, L), atol=1e-5, rtol=0)


@pytest.mark.parametrize("weight", [1.0, 0.3])
def test_auxiliary_loss_is_the_mean_binary_cross_entropy(weight):
    decoder = make(semantic_weight=weight)
    grid = torch.randn(B, L, D)
    labels = [
        torch.tensor([0, 4]),
        torch.tensor([], dtype=torch.long),
        torch.tensor([2]),
        torch.arange(C),
    ]
    truth = torch.tensor([[1, 0, 0, 0, 1], [0] * C, [0, 0, 1, 0, 0], [1] * C]).float()
    p = decoder.image_classifier.linear(grid.mean(1)).sigmoid()
    losses = decoder.auxiliary_loss(grid, labels)
    assert list(losses) == ["loss_semantic"]
    torch.testing.assert_close(losses["loss_semantic"], weight * F.binary_cross_entropy(p, truth))


def test_auxiliary_loss_leaves_the_sequence_alone():
    decoder = make()
    losses = decoder.auxiliary_loss(torch.randn(1, L, D), [torch.tensor([1])])
    losses["loss_semantic"].backward()
    trained = [name for name, p in decoder.named_parameters() if p.grad is not None]
    assert trained == ["image_classifier.linear.weight", "image_classifier.linear.bias"]


LABELS = [torch.tensor([0, 4]), torch.tensor([], dtype=torch.long), torch.tensor([2])]


def test_pretraining_starts_from_the_true_labels_and_leaves_the_cnn_to_its_own_loss():
    head = MODELS.build(
        dict(
            type="OrderlessRNNHead",
            num_classes=C,
            in_channels=D,
            max_steps=4,
            decoder=dict(type="SemanticRNN", hidden_size=8, embed_size=4, pretrain=True),
            loss=dict(
                type="FixedOrderLoss",
                order="dictionary",
                classes=list("abcde"),
                teacher_forcing=True,
            ),
        )
    )
    maps = torch.randn(3, D, 2, 2, requires_grad=True)
    samples = [DataSample().set_gt_label(labels) for labels in LABELS]
    losses = head.loss((maps,), samples)
    (gradient,) = torch.autograd.grad(losses["loss"], maps, retain_graph=True, allow_unused=True)
    assert gradient is None
    assert torch.autograd.grad(losses["loss_semantic"], maps)[0].abs().sum() > 0
    other = head.loss((torch.randn_like(maps),), samples)["loss"]
    torch.testing.assert_close(other, losses["loss"])  # it does not depend on the image

    vectors = torch.tensor([[1, 0, 0, 0, 1], [0] * C, [0, 0, 1, 0, 0]]).float()
    start = head.decoder.training_grid(head.pre_logits((maps,)), LABELS)
    torch.testing.assert_close(
        head.decoder.init_state(start).hidden, head.decoder.init_hidden(vectors)
    )


def test_after_pretraining_and_in_prediction_the_lstm_starts_from_the_probabilities():
    pretrained, grid = make(pretrain=True), torch.randn(3, L, D)
    joint = make()
    joint.load_state_dict(pretrained.state_dict())
    assert joint.training_grid(grid, LABELS) is grid
    assert pretrained.eval().training_grid(grid, LABELS) is grid
    torch.testing.assert_close(joint.rollout(grid, 3).logits, pretrained.rollout(grid, 3).logits)
