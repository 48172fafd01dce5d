import math

import pytest
import torch
from torch import nn

from mmorderless.models.decoders.dropout import drop_entries
from mmorderless.models.decoders.transformer import TransformerLabelDecoder, sinusoids

B, L, D, C, H, A = 3, 6, 10, 5, 8, 12


def make(**options):
    torch.manual_seed(1)
    sizes = dict(hidden_size=H, embed_size=4, attention_size=A, num_heads=3, feedforward_size=16)
    return TransformerLabelDecoder(
        C, D, **{**sizes, "dropout": 0.0, "layer_dropout": 0.0, **options}
    )


def attend(query, key, value, num_heads, mask=None):
    """Attention written out, one head at a time: (S, A), (M, A), (M, A) to (S, A), weights."""
    outputs, weights = [], []
    for q, k, v in zip(*(x.chunk(num_heads, 1) for x in (query, key, value))):
        energy = q @ k.t() / q.shape[1] ** 0.5
        if mask is not None:
            energy = energy.masked_fill(~mask, -torch.inf)
        weights.append(energy.softmax(1))
        outputs.append(weights[-1] @ v)
    return torch.cat(outputs, 1), torch.stack(weights).mean(0)


def positions(number, size):
    """Sinusoidal positions (number, size) by the formula of Vaswani et al., section 3.5."""
    return torch.tensor(
        [
            [(math.sin, math.cos)[k % 2](p / 10_000 ** ((k - k % 2) / size)) for k in range(size)]
            for p in range(number)
        ]
    )


def without_cache(decoder, grid, tokens):
    """Logits and attention weights after an image's last token, computed from all tokens."""
    cells = decoder.cells(grid)  # (L, H)
    x = decoder.expand(decoder.embedding(tokens)) + positions(len(tokens), H)
    mask = torch.ones(len(tokens), len(tokens), dtype=torch.bool).tril()
    for layer in decoder.layers:
        query, key, value = layer.self_input(layer.self_norm(x)).chunk(3, 1)
        x = x + layer.self_output(attend(query, key, value, 3, mask)[0])
        key, value = layer.cross_cells(cells).chunk(2, 1)
        seen, weights = attend(layer.cross_query(layer.cross_norm(x)), key, value, 3)
        x = x + layer.cross_output(seen)
        x = x + layer.feedforward(layer.feedforward_norm(x))
    return decoder.classifier(decoder.norm(x))[-1], weights[-1]


def test_cached_steps_equal_a_full_computation_without_a_cache():
    decoder = make()
    grid = torch.randn(B, L, D)
    rollout = decoder.rollout(grid, 5, return_attention=True)
    for i in range(B):
        tokens = torch.tensor([C + 1])
        for t in range(5):
            logits, weights = without_cache(decoder, grid[i], tokens)
            torch.testing.assert_close(rollout.logits[i, t], logits)
            torch.testing.assert_close(rollout.attention[i, t], weights)
            tokens = torch.cat([tokens, logits.argmax()[None]])


def test_a_layer_equals_pytorchs_own():
    """With its heads as wide as the tokens, as nn.TransformerDecoderLayer has them."""
    layer = make(attention_size=H, num_heads=2, hidden_size=H).layers[0]
    own = nn.TransformerDecoderLayer(H, 2, 16, 0.0, batch_first=True, norm_first=True)
    pairs = {
        "self_attn.in_proj_": "self_input.",
        "self_attn.out_proj.": "self_output.",
        "multihead_attn.out_proj.": "cross_output.",
        "linear1.": "feedforward.0.",
        "linear2.": "feedforward.2.",
        "norm1.": "self_norm.",
        "norm2.": "cross_norm.",
        "norm3.": "feedforward_norm.",
    }
    ours = layer.state_dict()
    theirs = {
        f"{a}{kind}": ours[f"{b}{kind}"] for a, b in pairs.items() for kind in ("weight", "bias")
    }
    for kind in ("weight", "bias"):
        theirs[f"multihead_attn.in_proj_{kind}"] = torch.cat(
            [ours[f"cross_query.{kind}"], ours[f"cross_cells.{kind}"]]
        )
    own.load_state_dict(theirs)
    x, cells = torch.randn(B, 4, H), torch.randn(B, L, H)
    mask = nn.Transformer.generate_square_subsequent_mask(4)
    none = torch.empty(B, 2, 0, H // 2)
    found, _, weights = layer(x, (none, none), layer.project_cells(cells))
    torch.testing.assert_close(found, own(x, cells, tgt_mask=mask, tgt_is_causal=True))
    assert weights.shape == (B, 4, L)


def test_cells_are_projected_once_per_rollout_and_a_step_costs_one_token():
    decoder = make()
    cells, tokens = [], []
    decoder.layers[1].cross_cells.register_forward_hook(lambda *_: cells.append(1))
    decoder.layers[1].feedforward.register_forward_hook(
        lambda _, inputs, __: tokens.append(inputs[0].shape[:2])
    )
    decoder.rollout(torch.randn(B, L, D), 5)
    assert len(cells) == 1
    assert tokens == [(B, 1)] * 5


def test_known_tokens_are_decoded_together():
    decoder = make()
    calls = []
    decoder.layers[0].register_forward_hook(lambda *_: calls.append(1))
    decoder.training_rollout(torch.randn(B, L, D), [2, 4, 1], torch.zeros(B, 6, dtype=torch.long))
    assert len(calls) == 1


def test_a_step_does_not_see_later_tokens():
    decoder = make()
    grid, feed = torch.randn(B, L, D), torch.randint(0, C, (B, 5))
    changed = feed.clone()
    changed[:, 2] = (feed[:, 2] + 1) % C  # what step 2 emitted, fed to step 3
    before, after = (decoder.training_rollout(grid, [5] * B, f).logits for f in (feed, changed))
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


@pytest.mark.parametrize("drop", ["cells", "channels"])
def test_dropout_draws_one_mask_of_the_cells_per_rollout(drop):
    decoder = make(dropout=0.5, drop=drop)
    grid = torch.randn(B, L, D)
    torch.manual_seed(0)
    dropped = drop_entries(grid, 0.5, training=True, drop=drop)
    torch.manual_seed(0)
    rollout = decoder.rollout(grid, 4)
    torch.testing.assert_close(rollout.logits, decoder.eval().rollout(dropped, 4).logits)


def test_dropout_of_the_layers_is_for_training_only():
    decoder = make(layer_dropout=0.5)
    grid = torch.randn(B, L, D)
    assert not torch.equal(decoder.rollout(grid, 2).logits, decoder.rollout(grid, 2).logits)
    decoder.eval()
    torch.testing.assert_close(decoder.rollout(grid, 2).logits, make().rollout(grid, 2).logits)


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_sinusoids_equal_the_formula(size):
    expected = positions(500, size)
    found = sinusoids(torch.arange(500), size)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    assert torch.equal(sinusoids(torch.arange(77, 80), size), found[77:80])


def test_a_rollout_may_have_any_number_of_steps():
    decoder = make()
    grid = torch.randn(1, L, D)
    rollout = decoder.rollout(grid, 90)
    assert rollout.logits.shape == (1, 90, C + 1)
    inputs = torch.cat([torch.tensor([C + 1]), rollout.tokens[0, :-1]])
    for t in (64, 65, 89):
        expected, _ = without_cache(decoder, grid[0], inputs[: t + 1])
        torch.testing.assert_close(rollout.logits[0, t], expected, atol=1e-4, rtol=1e-4)
    known = decoder.training_rollout(grid, [90], feed=rollout.tokens)
    torch.testing.assert_close(known.logits, rollout.logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("attention_size", [None, 0, 10])
def test_heads_share_the_attention_evenly(attention_size):
    with pytest.raises(
        ValueError, match=f"attention_size={attention_size} cannot be shared by 3 heads"
    ):
        make(attention_size=attention_size)


def test_sizes_of_its_own_are_positive():
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        make(num_layers=0)
