import torch
from torch import nn

from mmorderless.models.decoders.recurrent_annotator import RecurrentAnnotator

B, L, D, C, H, E = 3, 4, 10, 5, 8, 6


def make(**options):
    torch.manual_seed(1)
    return RecurrentAnnotator(C, D, hidden_size=H, embed_size=E, **{"dropout": 0.0, **options})


def test_logits_equal_the_equations():
    decoder = make()
    grid, fed = torch.randn(B, L, D), torch.randint(0, C + 1, (B, 3))
    recurrent = nn.LSTM(E, H, batch_first=True)
    for name, parameter in decoder.lstm.named_parameters():
        setattr(recurrent, f"{name}_l0", parameter)
    tokens = torch.cat([torch.full((B, 1), C + 1), fed[:, :-1]], 1)
    start = decoder.init_hidden(grid.mean(1))[None], torch.zeros(1, B, H)  # the cell at 0
    output, _ = recurrent(decoder.embedding(tokens), start)
    expected = decoder.classifier(torch.relu(decoder.hidden_layer(output)))
    found = decoder.training_rollout(grid, [3] * B, feed=fed).logits
    torch.testing.assert_close(found, expected)


def test_the_forget_gate_is_open_at_first():
    lstm = make().lstm
    bias = (lstm.bias_ih + lstm.bias_hh).view(4, H)  # input, forget, cell, output
    assert torch.equal(bias[1], torch.ones(H))
    assert not torch.isin(bias[[0, 2, 3]], torch.tensor([0.0, 1.0])).any()


def test_dropout_is_on_the_hidden_layer_alone():
    decoder, grid = make(dropout=0.999999), torch.randn(B, L, D)
    logits = decoder.rollout(grid, 2).logits
    torch.testing.assert_close(logits, decoder.classifier.bias.expand(B, 2, -1))
    assert (decoder.init_state(grid).hidden != 0).all()
