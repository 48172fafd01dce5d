import pytest
import torch

from mmorderless.models.decoders.attention_rnn import AttentionGRU

B, L, D, C = 3, 6, 10, 5


def make(attention=True, dropout=0.0):
    torch.manual_seed(1)
    size = 7 if attention else None
    return AttentionGRU(C, D, hidden_size=8, embed_size=4, attention_size=size, dropout=dropout)


@pytest.mark.parametrize("attention", [True, False])
def test_equals_the_equations_written_out(attention):
    """Reset gate r, update gate z and candidate n, in the order of nn.GRUCell's weights."""
    decoder = make(attention)
    grid = torch.randn(B, L, D)
    h, token = decoder.init_hidden(grid.mean(1)), torch.full((B,), C + 1)
    gru = decoder.gru
    for logits in decoder.rollout(grid, 4).logits.unbind(1):
        x = decoder.embedding(token)
        if attention:
            layers = decoder.attention
            energy = layers.energy(torch.relu(layers.key(grid) + layers.query(h)[:, None]))
            context = torch.sigmoid(layers.gate(h)) * (energy.softmax(1) * grid).sum(1)
            x = torch.cat([x, context], 1)
        of_x = (x @ gru.weight_ih.t() + gru.bias_ih).chunk(3, 1)
        of_h = (h @ gru.weight_hh.t() + gru.bias_hh).chunk(3, 1)
        r, z = torch.sigmoid(of_x[0] + of_h[0]), torch.sigmoid(of_x[1] + of_h[1])
        n = torch.tanh(of_x[2] + r * of_h[2])
        h = (1 - z) * n + z * h
        expected = decoder.classifier(h)
        torch.testing.assert_close(logits, expected)
        token = expected.argmax(1)
