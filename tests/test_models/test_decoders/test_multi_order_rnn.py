import torch
import torch.nn.functional as F

from mmorderless.models.decoders.multi_order_rnn import MultiOrderRNN

B, L, D, C = 4, 6, 9, 5


def make():
    torch.manual_seed(1)
    return MultiOrderRNN(C, D, hidden_size=8, embed_size=4, attention_size=7, dropout=0.0)


def test_image_level_probabilities_are_appended_to_every_cell():
    decoder, grid = make(), torch.randn(B, L, D)
    state = decoder.init_state(grid)
    p = decoder.image_classifier.linear(grid.mean(1)).sigmoid()
    torch.testing.assert_close(state.grid[:, :, :D], grid)
    torch.testing.assert_close(state.grid[:, :, D:], p[:, None].expand(-1, L, -1))
    torch.testing.assert_close(state.hidden, decoder.init_hidden(torch.cat([grid.mean(1), p], 1)))


def test_auxiliary_loss_is_the_mean_binary_cross_entropy_of_the_image():
    decoder, grid = make(), torch.randn(B, L, D)
    labels = [torch.tensor(x, dtype=torch.long) for x in ([0, 4], [], [2], range(C))]
    truth = torch.tensor([[1, 0, 0, 0, 1], [0] * C, [0, 0, 1, 0, 0], [1] * C]).float()
    p = decoder.image_classifier.linear(grid.mean(1)).sigmoid()
    losses = decoder.auxiliary_loss(grid, labels)
    assert list(losses) == ["loss_image"]
    torch.testing.assert_close(losses["loss_image"], F.binary_cross_entropy(p, truth))
    losses["loss_image"].backward()
    trained = [name for name, p in decoder.named_parameters() if p.grad is not None]
    assert trained == ["image_classifier.linear.weight", "image_classifier.linear.bias"]
