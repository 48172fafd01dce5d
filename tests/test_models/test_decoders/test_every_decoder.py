"""What all decoders promise, whatever is inside them."""

import pytest
import torch
from mmpretrain.registry import MODELS

from mmorderless.models.decoders.base import select
from mmorderless.models.heads.orderless_head import OrderlessRNNHead
from mmorderless.models.losses.aligned import MLALoss, PLALoss

B, L, D, C, T = 5, 4, 9, 6, 4
DECODERS = {
    "lstm": dict(type="AttentionLSTM"),
    "lstm, no attention": dict(type="AttentionLSTM", attention_size=None),
    "gru": dict(type="AttentionGRU"),
    "gru, no attention": dict(type="AttentionGRU", attention_size=None),
    "transformer": dict(
        type="TransformerLabelDecoder", num_heads=2, feedforward_size=24, layer_dropout=0.0
    ),
    "joint embedding": dict(type="JointEmbeddingRNN"),
    "semantic": dict(type="SemanticRNN"),
}
every_decoder = pytest.mark.parametrize("name", DECODERS)


def make(name, **options):
    torch.manual_seed(1)
    sizes = dict(hidden_size=16, embed_size=8, attention_size=12, dropout=0.0)
    return MODELS.build({"num_classes": C, "in_channels": D, **sizes, **DECODERS[name], **options})


@every_decoder
def test_rollout_is_repeated_steps(name):
    decoder = make(name).eval()
    grid = torch.randn(B, L, D)
    rollout = decoder.rollout(grid, T, return_attention=decoder.attends)
    assert rollout.logits.shape == (B, T, C + 1)
    state, token = decoder.init_state(grid), torch.full((B,), C + 1)
    for t in range(T):
        logits, state, weights = decoder.step(token, state)
        token = logits.argmax(1)
        torch.testing.assert_close(rollout.logits[:, t], logits)
        assert torch.equal(rollout.tokens[:, t], token)
        if decoder.attends:
            assert weights.shape == (B, L)
            torch.testing.assert_close(rollout.attention[:, t], weights)
            torch.testing.assert_close(weights.sum(1), torch.ones(B))
        else:
            assert weights is None


@every_decoder
@pytest.mark.parametrize("feeds", [False, True], ids=["own", "target"])
def test_rollout_of_training_equals_the_stepwise_one_with_gradients(name, feeds):
    decoder = make(name).double()
    lengths = [3, 1, 4, 2, 4]
    counted = (torch.arange(T) < torch.tensor(lengths)[:, None])[:, :, None]
    weights = torch.randn(B, T, C + 1, dtype=torch.float64) * counted
    feed = torch.randint(0, C + 1, (B, T)) if feeds else None
    if feeds:
        feed[1, 2:] = -100  # IGNORE stands for END
    grid = torch.randn(B, L, D, dtype=torch.float64, requires_grad=True)
    results = []
    for rollout in (
        decoder.rollout(grid, T, feed=feed),
        decoder.rollout_counted(grid, lengths, feed),
    ):
        wanted = dict(decoder.named_parameters(), grid=grid)
        gradients = torch.autograd.grad((rollout.logits * weights).sum(), wanted.values())
        gradients = dict(zip(wanted, gradients))
        tokens = rollout.tokens.masked_fill(~counted[:, :, 0], C)
        results.append(dict(gradients, logits=rollout.logits * counted, tokens=tokens))
    stepwise, counted_only = results
    for key, value in stepwise.items():
        torch.testing.assert_close(counted_only[key], value, msg=key)


@every_decoder
def test_the_gradient_reaches_every_parameter_and_every_cell(name):
    decoder = make(name)
    grid = torch.randn(B, L, D, requires_grad=True)
    decoder.rollout_counted(grid, [T] * B).logits.square().sum().backward()
    for parameter_name, parameter in decoder.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name
    assert (grid.grad.abs().sum(2) > 0).all()


@every_decoder
def test_images_of_a_batch_do_not_influence_each_other(name):
    decoder = make(name).eval()
    grid = torch.randn(B, L, D)
    together = decoder.rollout(grid, T).logits
    alone = torch.cat([decoder.rollout(grid[i : i + 1], T).logits for i in range(B)])
    torch.testing.assert_close(together, alone)


@every_decoder
def test_rows_of_a_state_go_on_as_they_would_have(name):
    """Selected as images that are still decoded, and swapped with a row of the same image."""
    decoder = make(name).eval()
    grid = torch.randn(2, L, D).repeat_interleave(2, 0)  # two hypotheses an image
    first, second = torch.tensor([0, 1, 2, 3]), torch.tensor([4, 5, 0, 1])
    _, state, _ = decoder.step(torch.full((4,), C + 1), decoder.init_state(grid))
    _, state, _ = decoder.step(first, state)
    logits, _, _ = decoder.step(second, state)
    rows = torch.tensor([3, 0])
    torch.testing.assert_close(decoder.step(second[rows], select(state, rows))[0], logits[rows])
    rows = torch.tensor([1, 1, 2, 2])
    torch.testing.assert_close(
        decoder.step(second[rows], decoder.reorder(state, rows))[0], logits[rows]
    )


@every_decoder
def test_dropout_is_for_training_only(name):
    decoder = make(name, dropout=0.5)
    grid = torch.randn(B, L, D)
    losing = {"lstm", "gru", "transformer", "joint embedding"}  # the others have nothing to drop
    first, second = (decoder.rollout(grid, 1).logits for _ in range(2))
    assert torch.equal(first, second) == (name not in losing)
    decoder.eval()
    assert torch.equal(decoder.rollout(grid, T).logits, decoder.rollout(grid, T).logits)


@every_decoder
def test_autocast_is_close_to_float32(name):
    decoder = make(name)
    grid = torch.randn(B, L, D)
    feed = torch.randint(0, C + 1, (B, T))  # so that rounding cannot change the way
    wanted = decoder.rollout_counted(grid, [T] * B, feed).logits
    with torch.autocast("cpu", torch.bfloat16):
        for found in (
            decoder.rollout_counted(grid, [T] * B, feed),
            decoder.rollout(grid, T, feed=feed),
        ):
            torch.testing.assert_close(found.logits.float(), wanted, atol=0.1, rtol=0.1)


@pytest.mark.slow_except("pla-lstm", "mla-joint embedding")
@every_decoder
@pytest.mark.parametrize("loss", [PLALoss(), MLALoss()], ids=["pla", "mla"])
def test_learns_label_sets_by_heart_and_stops_where_they_end(name, loss, monkeypatch):
    """The losses know nothing of the decoder. Then, images that have ended are left out."""
    decoder = make(name)
    labels = [torch.randperm(C)[:n].sort().values for n in (0, 0, 1, 1, 1, 2, 3, 3)]
    lengths = [len(label_set) + 1 for label_set in labels]
    grid = torch.randn(8, L, D)
    optimiser = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    for _ in range(160):
        value = loss(decoder.rollout_counted(grid, lengths).logits, labels)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
    assert value < 0.05

    decoder.eval()
    whole = decoder.rollout(grid, 6)
    rows = []
    step = decoder.stepper(8)
    monkeypatch.setattr(
        decoder,
        "stepper",
        lambda _: lambda token, state: rows.append(len(token)) or step(token, state),
    )
    short = decoder.rollout(grid, 6, until_end=True)
    assert rows == [8, 8, 3, 3]  # after two steps more than half have ended, after four all
    for i, label_set in enumerate(labels):
        n = len(label_set)
        assert sorted(short.tokens[i, :n].tolist()) == label_set.tolist()
        assert short.tokens[i, n] == C
        assert short.tokens[i, : n + 1].tolist() == whole.tokens[i, : n + 1].tolist()
        torch.testing.assert_close(short.logits[i, : n + 1], whole.logits[i, : n + 1])


@every_decoder
@pytest.mark.parametrize("size", ["in_channels", "hidden_size", "embed_size"])
def test_sizes_are_positive(name, size):
    with pytest.raises(ValueError, match=f"{size} must be at least 1, got 0"):
        make(name, **{size: 0})


def test_a_transformer_has_room_for_the_heads_steps():
    head = OrderlessRNNHead(
        num_classes=81,
        in_channels=4,
        max_steps=82,
        decoder=dict(
            type="TransformerLabelDecoder",
            feedforward_size=8,
            hidden_size=8,
            embed_size=4,
            attention_size=8,
        ),
        decoding=dict(end_bias=99.0),
    ).eval()
    with torch.no_grad():
        [sample] = head.predict((torch.randn(1, 4, 2, 2),))
    assert len(sample.sequence) == 82
    with pytest.raises(ValueError, match="positions"):
        head.decoder.rollout(torch.randn(1, 4, 4), 83)
