import pytest
import torch
from torch import nn

from mmorderless.models.decoders.attention_rnn import AttentionLSTM
from mmorderless.models.decoders.dropout import draw_mask, scale_of

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
            energy = decoder.energy(torch.relu(decoder.key(grid) + decoder.query(h).unsqueeze(1)))
            alpha = torch.softmax(energy, dim=1)  # (B, L, 1)
            context = torch.sigmoid(decoder.gate(h)) * (alpha * grid).sum(dim=1)
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


@pytest.mark.parametrize("attention", [True, False])
def test_rollout_is_repeated_steps(attention):
    decoder = make(attention).eval()
    grid = torch.randn(B, L, D)
    rollout = decoder.rollout(grid, 4, return_attention=attention)
    state, token = decoder.init_state(grid), torch.full((B,), C + 1)
    for t in range(4):
        logits, state, weights = decoder.step(token, state)
        token = logits.argmax(1)
        torch.testing.assert_close(rollout.logits[:, t], logits)
        assert torch.equal(rollout.tokens[:, t], token)
        if attention:
            torch.testing.assert_close(rollout.attention[:, t], weights)
            torch.testing.assert_close(weights.sum(1), torch.ones(B))


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


def test_stopping_remembers_who_has_ended(monkeypatch):
    """Image 0 ends at step 0 and emits labels again, the others at step 1: two steps."""
    decoder = make().eval()
    script = iter([[C, 0, 1], [0, C, C], [1, 1, 1]])

    def scripted(token, state, weights):
        logits = torch.nn.functional.one_hot(torch.tensor(next(script)), C + 1).float()
        return logits, state, None

    monkeypatch.setattr(decoder, "_step", scripted)
    tokens = decoder.rollout(torch.randn(3, L, D), 4, until_end=True).tokens
    assert tokens.tolist() == [[C, 0], [0, C], [1, C]]


@pytest.mark.parametrize("attention", [True, False])
def test_images_that_have_ended_are_decoded_no_further(attention, monkeypatch):
    """What is emitted until END stays the same; after it come END and zeros."""
    decoder = make(attention).eval()
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.mul_(4)  # so that images end at different steps
    end_bias(decoder, 2.0)
    grid = 3 * torch.randn(24, L, D)
    whole = decoder.rollout(grid, 9, return_attention=attention)
    rows = []
    step = decoder._step
    monkeypatch.setattr(
        decoder, "_step", lambda token, *rest: rows.append(len(token)) or step(token, *rest)
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


def test_a_short_rollout_is_the_beginning_of_a_long_one():
    decoder = make().eval()
    grid = torch.randn(B, L, D)
    long, short = decoder.rollout(grid, 6), decoder.rollout(grid, 3)
    torch.testing.assert_close(long.logits[:, :3], short.logits)
    stopped = decoder.rollout(grid, 6, until_end=True)
    torch.testing.assert_close(stopped.logits, long.logits[:, : stopped.logits.shape[1]])


def test_images_of_a_batch_do_not_influence_each_other():
    decoder = make().eval()
    grid = torch.randn(B, L, D)
    together = decoder.rollout(grid, 5).logits
    alone = torch.cat([decoder.rollout(grid[i : i + 1], 5).logits for i in range(B)])
    torch.testing.assert_close(together, alone)


def test_keys_are_computed_once_per_rollout():
    decoder = make()
    calls = []
    decoder.key.register_forward_hook(lambda *_: calls.append(1))
    decoder.rollout(torch.randn(B, L, D), 6)
    assert len(calls) == 1


def test_dropout_draws_one_mask_per_rollout_and_none_in_evaluation():
    decoder = make(dropout=0.5)
    grid = torch.randn(B, L, D)
    torch.manual_seed(0)
    mask = 2 * draw_mask(grid, 0.5)
    torch.manual_seed(0)
    rollout = decoder.rollout(grid, 4)
    state, token = decoder.init_state(grid), torch.full((B,), C + 1)
    state = state._replace(grid=grid * mask, keys=decoder.key(grid * mask))
    for t in range(4):
        logits, state, _ = decoder.step(token, state)
        token = logits.argmax(1)
        torch.testing.assert_close(rollout.logits[:, t], logits)
    decoder.eval()
    torch.testing.assert_close(decoder.rollout(grid, 4).logits, decoder.rollout(grid, 4).logits)


def test_bfloat16_autocast_is_close_to_float32():
    decoder = make().eval()
    grid = torch.randn(B, L, D)
    with torch.autocast("cpu", torch.bfloat16):
        low = decoder.rollout(grid, 1).logits
    torch.testing.assert_close(low.float(), decoder.rollout(grid, 1).logits, atol=0.05, rtol=0.05)


LENGTHS = [3, 1, 5, 2, 5, 1]


def gradients_of(decoder, grid, logits, weights):
    decoder.zero_grad()
    grid.grad = None
    (logits * weights).sum().backward()
    named = {name: parameter.grad.clone() for name, parameter in decoder.named_parameters()}
    return {"grid": grid.grad, **named}


@pytest.mark.parametrize("attention", [True, False])
@pytest.mark.parametrize("num_classes", [5, 40], ids=["table of embeddings", "no table"])
@pytest.mark.parametrize("feeds", [False, True], ids=["own", "target"])
def test_rollout_of_training_equals_the_plain_one_with_gradients(attention, num_classes, feeds):
    """The hand-written gradient against autograd's, in float64, for images of unequal length."""
    torch.manual_seed(0)
    sizes = dict(SIZES, attention_size=SIZES["attention_size"] if attention else None)
    decoder = AttentionLSTM(num_classes, D, **sizes, dropout=0.0).double()
    grid = torch.randn(len(LENGTHS), L, D, dtype=torch.float64, requires_grad=True)
    feed = torch.randint(0, num_classes + 1, (len(LENGTHS), 5)) if feeds else None
    counted = torch.arange(5) < torch.tensor(LENGTHS)[:, None]
    weights = torch.randn(len(LENGTHS), 5, num_classes + 1, dtype=torch.float64)

    plain = decoder.rollout(grid, 5, feed=feed)
    expected = gradients_of(decoder, grid, plain.logits * counted[:, :, None], weights)
    packed = decoder.rollout_counted(grid, LENGTHS, feed)
    found = gradients_of(decoder, grid, packed.logits, weights)
    torch.testing.assert_close(packed.logits, plain.logits * counted[:, :, None])
    assert torch.equal(packed.tokens, plain.tokens.masked_fill(~counted, num_classes))
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


def test_rollout_of_training_drops_the_same_cells_forward_and_backward():
    """Images sorted by length already: both rollouts draw the same mask."""
    decoder = make(dropout=0.3).double()
    lengths = sorted(LENGTHS, reverse=True)
    grid = torch.randn(len(lengths), L, D, dtype=torch.float64, requires_grad=True)
    counted = (torch.arange(5) < torch.tensor(lengths)[:, None])[:, :, None]
    weights = torch.randn(len(lengths), 5, C + 1, dtype=torch.float64)
    torch.manual_seed(3)
    expected = gradients_of(decoder, grid, decoder.rollout(grid, 5).logits * counted, weights)
    torch.manual_seed(3)
    found = gradients_of(decoder, grid, decoder.rollout_counted(grid, lengths).logits, weights)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)


@pytest.mark.parametrize("attention", [True, False])
def test_gradients_of_the_rollout_of_training_can_be_changed_in_place(attention):
    """As accumulation, clipping and unscaling do: no parameter may share another's memory."""
    decoder = make(attention).double()
    grid = torch.randn(len(LENGTHS), L, D, dtype=torch.float64)
    weights = torch.randn(len(LENGTHS), 5, C + 1, dtype=torch.float64)
    for _ in range(2):
        (decoder.rollout_counted(grid, LENGTHS).logits * weights).sum().backward()
    twice = {name: p.grad.clone() for name, p in decoder.named_parameters()}
    decoder.zero_grad()
    (decoder.rollout_counted(grid, LENGTHS).logits * weights).sum().backward()
    for name, parameter in decoder.named_parameters():
        torch.testing.assert_close(twice[name], 2 * parameter.grad, msg=name)
    norms = {name: p.grad.norm().item() for name, p in decoder.named_parameters()}
    for parameter in decoder.parameters():
        parameter.grad.mul_(0.5)
    for name, parameter in decoder.named_parameters():
        assert parameter.grad.norm().item() == pytest.approx(norms[name] / 2), name


def test_rollout_of_training_without_a_gradient_for_the_grid():
    decoder = make()
    logits = decoder.rollout_counted(torch.randn(2, L, D), [2, 3]).logits
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in decoder.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_rollout_of_training_under_autocast(dtype):
    """Low precision where autocast has it; gradients of the parameters' own type."""
    decoder = make()
    grid = torch.randn(len(LENGTHS), L, D, requires_grad=True)
    weights = torch.randn(len(LENGTHS), 5, C + 1)
    feed = torch.randint(0, C + 1, (len(LENGTHS), 5))  # so that rounding cannot change the way
    expected = gradients_of(
        decoder, grid, decoder.rollout_counted(grid, LENGTHS, feed).logits, weights
    )
    with torch.autocast("cpu", dtype):
        logits = decoder.rollout_counted(grid, LENGTHS, feed).logits
    assert logits.dtype == dtype
    found = gradients_of(decoder, grid, logits.float(), weights)
    for name, gradient in expected.items():
        assert found[name].dtype == torch.float32
        scale = gradient.abs().max()
        torch.testing.assert_close(
            found[name] / scale, gradient / scale, atol=0.05, rtol=0.05, msg=name
        )


@pytest.mark.parametrize("probability", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_dropout_mask_keeps_the_mean(probability):
    torch.manual_seed(0)
    mask = draw_mask(torch.empty(3, 40_001), probability)
    assert mask.shape == (3, 40_001)
    assert mask.float().mean().item() == pytest.approx(1 - probability, abs=0.01)
    if probability < 1:
        assert scale_of(probability) == pytest.approx(1 / (1 - probability), rel=1e-3)
        assert (mask * scale_of(probability)).mean().item() == pytest.approx(1, abs=0.03)
    if 0 < probability < 1:  # neighbours share a draw's bits, not their fate
        flat = mask.flatten().float()
        for distance in (1, 2, 3, 4):
            pairs = torch.stack([flat[:-distance], flat[distance:]])
            assert torch.corrcoef(pairs)[0, 1].abs() < 0.02


def test_errors():
    with pytest.raises(ValueError, match="hidden_size must be at least 1, got 0"):
        AttentionLSTM(C, D, hidden_size=0)
    with pytest.raises(ValueError, match="num_classes must be at least 1, got 0"):
        AttentionLSTM(0, D)
    with pytest.raises(ValueError, match="num_steps must be at least 1"):
        make().rollout(torch.randn(B, L, D), 0)
    with pytest.raises(ValueError, match="no attention to return"):
        make(attention=False).rollout(torch.randn(B, L, D), 2, return_attention=True)
