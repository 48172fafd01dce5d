import torch
from torch import nn

from mmorderless.models.decoders.joint_embedding_rnn import JointEmbeddingRNN

B, L, D, C, E = 3, 4, 10, 5, 9


def make(**options):
    torch.manual_seed(1)
    return JointEmbeddingRNN(C, D, hidden_size=8, embed_size=E, **{"dropout": 0.0, **options})


def test_logits_equal_the_equations():
    decoder = make()
    grid, fed = torch.randn(B, L, D), torch.randint(0, C + 1, (B, 3))
    labels = decoder.embedding.weight.t()  # U_l, (E, C + 2)
    recurrent = nn.LSTM(E, 8, bias=False, batch_first=True)  # starts from zeros
    recurrent.weight_ih_l0, recurrent.weight_hh_l0 = decoder.lstm.weight_ih, decoder.lstm.weight_hh
    tokens = torch.cat([torch.full((B, 1), C + 1), fed[:, :-1]], 1)
    output, _ = recurrent(labels.t()[tokens])  # (B, 3, H)
    image = grid.mean(1)
    for t, logits in enumerate(decoder.training_rollout(grid, [3] * B, feed=fed).logits.unbind(1)):
        x = (
            output[:, t] @ decoder.project_output.weight.t()
            + image @ decoder.project_image.weight.t()
        )
        torch.testing.assert_close(logits, torch.relu(x) @ labels[:, : C + 1])


def test_one_matrix_embeds_and_classifies():
    """There is no other classifier: the logits give labels a gradient that were never fed."""
    decoder = make()
    of_labels = [n for n, p in decoder.named_parameters() if C + 1 in p.shape or C + 2 in p.shape]
    assert of_labels == ["embedding.weight"]
    logits = decoder.rollout(torch.randn(B, L, D), 1).logits  # START alone was fed
    (gradient,) = torch.autograd.grad(logits[:, :, 2].sum(), decoder.embedding.weight)
    touched = gradient.abs().sum(1) > 0
    assert touched.tolist() == [c in (2, C + 1) for c in range(C + 2)]


def test_there_are_no_biases():
    assert [name for name, _ in make().named_parameters() if "bias" in name] == []


def test_the_recurrent_layer_does_not_see_the_image():
    decoder = make()
    token = torch.full((B,), C + 1)
    states = [decoder.step(token, decoder.init_state(torch.randn(B, L, D)))[1] for _ in range(2)]
    torch.testing.assert_close(states[0].output, states[1].output)
    assert not torch.allclose(states[0].image, states[1].image)


def test_order_of_the_cells_does_not_matter():
    """The image is a mean: there is nothing to attend to."""
    decoder = make()
    grid = torch.randn(B, L, D)
    assert not decoder.attends
    torch.testing.assert_close(
        decoder.rollout(grid, 3).logits, decoder.rollout(grid.flip(1), 3).logits
    )
