import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmorderless.models.decoders.attention_rnn import AttentionLSTM
from mmorderless.models.decoders.dropout import drop_entries

B, L, D, C = 3, 6, 10, 5
SIZES = dict(hidden_size=8, embed_size=4, attention_size=7)


def make(attention=True, **options):
    torch.manual_seed(1)
    sizes = dict(SIZES, attention_size=SIZES["attention_size"] if attention else None)
    return AttentionLSTM(C, D, **{**sizes, "dropout": 0.0, **options})


def reference_logits(decoder, grid, num_steps):
    """The equations of the docstring, step by step, with PyTorch's own LSTM cell."""
    cell_fn = nn.LSTMCell(decoder.lstm.input_size, decoder.lstm.hidden_size)
    cell_fn.weight_ih, cell_fn.weight_hh = decoder.lstm.weight_ih, decoder.lstm.weight_hh
    cell_fn.bias_ih, cell_fn.bias_hh = decoder.lstm.bias_ih, decoder.lstm.bias_hh
    pooled = grid.mean(dim=1)
    h, c = decoder.init_hidden(pooled), decoder.init_cell(pooled)
    token, logits = torch.full((len(grid),), C + 1), []
    for _ in range(num_steps):
        x = decoder.embedding(token)
        if decoder.attends:
            layers = decoder.attention
            energy = layers.energy(torch.relu(layers.key(grid) + layers.query(h).unsqueeze(1)))
            alpha = torch.softmax(energy, dim=1)  # (B, L, 1)
            context = torch.sigmoid(layers.gate(h)) * (alpha * grid).sum(dim=1)
            x = torch.cat([x, context], dim=1)
        h, c = cell_fn(x, (h, c))
        p = decoder.classifier(h)
        token = p.argmax(dim=1)
        logits.append(p)
    return torch.stack(logits, dim=1)


@pytest.mark.parametrize("attention", [True, False])
def test_equals_a_plain_step_by_step_reference_with_gradients(attention):
    decoder = make(attention)
    grid = torch.randn(B, L, D, requires_grad=True)
    weights = torch.randn(B, 7, C + 1)
    results = []
    for logits in (decoder.rollout(grid, 7).logits, reference_logits(decoder, grid, 7)):
        decoder.zero_grad()
        grid.grad = None
        (logits * weights).sum().backward()
        gradients = {name: p.grad.clone() for name, p in decoder.named_parameters()}
        results.append((logits.detach(), grid.grad.clone(), gradients))
    (ours, our_grid, our_grads), (theirs, their_grid, their_grads) = results
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(our_grid, their_grid, atol=1e-5, rtol=1e-5)
    assert our_grads.keys() == their_grads.keys()
    for name, gradient in our_grads.items():
        torch.testing.assert_close(gradient, their_grads[name], atol=1e-5, rtol=1e-5, msg=name)


def end_bias(decoder, value):
    with torch.no_grad():
        decoder.classifier.bias[C] = value


def test_stops_when_the_whole_batch_has_emitted_end():
    decoder = make().eval()
    grid = torch.randn(B, L, D)
    end_bias(decoder, 100.0)
    assert decoder.rollout(grid, 9, until_end=True).tokens.tolist() == [[C]] * B
    assert decoder.rollout(grid, 9).logits.shape == (B, 9, C + 1)  # training does not stop
    end_bias(decoder, -100.0)
    assert decoder.rollout(grid, 9, until_end=True).logits.shape == (B, 9, C + 1)


def test_an_image_that_emitted_end_stays_ended(monkeypatch):
    """Image 0 ends at step 0 and then emits a label; the others end at step 1: two steps."""
    decoder = make().eval()
    script = iter([[C, 0, 1], [0, C, C], [1, 1, 1]])

    def scripted(token, state):
        return F.one_hot(torch.tensor(next(script)), C + 1).float(), state, None

    monkeypatch.setattr(decoder, "step", scripted)
    tokens = decoder.rollout(torch.randn(3, L, D), 4, until_end=True).tokens
    assert tokens.tolist() == [[C, 0], [0, C], [1, C]]


@pytest.mark.parametrize("attention", [True, False])
def test_images_that_have_ended_are_decoded_no_further(attention, monkeypatch):
    """The steps up to END stay the same."""
    decoder = make(attention).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(4)  # so that images end at different steps
    end_bias(decoder, 1.0)
    grid = 3 * torch.randn(24, L, D)
    whole = decoder.rollout(grid, 9, return_attention=attention)
    rows = []
    step = decoder.step
    monkeypatch.setattr(
        decoder, "step", lambda token, state: rows.append(len(token)) or step(token, state)
    )
    short = decoder.rollout(grid, 9, until_end=True, return_attention=attention)
    assert rows[0] == 24
    assert rows[-1] <= 12
    assert sorted(rows, reverse=True) == rows
    compared = 0
    for i in range(24):
        wanted = whole.tokens[i].tolist()
        n = wanted.index(C) + 1 if C in wanted else 9
        compared += n
        assert short.tokens[i, :n].tolist() == wanted[:n]
        torch.testing.assert_close(short.logits[i, :n], whole.logits[i, :n])
        if attention:
            torch.testing.assert_close(short.attention[i, :n], whole.attention[i, :n])
    assert compared > 24


def test_keys_are_computed_once_per_rollout():
    decoder = make()
    calls = []
    decoder.attention.key.register_forward_hook(lambda *_: calls.append(1))
    decoder.rollout(torch.randn(B, L, D), 6)
    decoder.training_rollout(torch.randn(B, L, D), [2, 4, 1])
    assert len(calls) == 2


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("drop", ["cells", "channels"])
def test_dropped_channels_reach_the_initial_state_and_dropped_entries_do_not(attention, drop):
    decoder = make(attention, dropout=0.5, drop=drop)
    grid = torch.randn(B, L, D)
    torch.manual_seed(0)
    dropped = drop_entries(grid, 0.5, training=True, drop=drop)
    torch.manual_seed(0)
    state = decoder.init_state(grid)
    pooled = (dropped if drop == "channels" else grid).mean(1)
    torch.testing.assert_close(state.hidden, decoder.init_hidden(pooled))
    torch.testing.assert_close(state.cell, decoder.init_cell(pooled))
    if attention:
        torch.testing.assert_close(state.grid, dropped)
        torch.testing.assert_close(state.keys, decoder.attention.key(dropped))


def test_what_is_dropped_does_not_change_predictions():
    assert make().drop == "channels"
    grid = torch.randn(B, L, D)
    expected = make(dropout=0.5).eval().rollout(grid, 4).logits
    found = make(dropout=0.5, drop="cells").eval().rollout(grid, 4).logits
    assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="unknown drop='maps'"):
        make(drop="maps")


def test_errors():
    with pytest.raises(ValueError, match="attention_size must be at least 1, got 0"):
        AttentionLSTM(C, D, attention_size=0)
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        make().rollout(torch.randn(B, L, D), 0)
    with pytest.raises(ValueError, match="no attention to return"):
        make(attention=False).rollout(torch.randn(B, L, D), 2, return_attention=True)
