import pytest
import torch
from torch import nn

from mmorderless.models.decoders.dropout import draw_mask
from mmorderless.models.decoders.transformer import TransformerLabelDecoder

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


def without_cache(decoder, grid, tokens):
    """Logits of the last of an image's tokens, and its weights, everything computed anew."""
    cells = decoder.cells(grid)  # (L, H)
    x = decoder.expand(decoder.embedding(tokens)) + decoder.position.weight[: len(tokens)]
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
    for weigh in (False, True):
        found, _, weights = layer(x, (none, none), layer.look_at(cells), weigh)
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


def test_known_tokens_are_decoded_at_once():
    decoder = make()
    calls = []
    decoder.layers[0].register_forward_hook(lambda *_: calls.append(1))
    decoder.rollout_counted(torch.randn(B, L, D), [2, 4, 1], torch.zeros(B, 6, dtype=torch.long))
    assert len(calls) == 1


def test_a_step_does_not_see_later_tokens():
    decoder = make()
    grid, feed = torch.randn(B, L, D), torch.randint(0, C, (B, 5))
    changed = feed.clone()
    changed[:, 2] = (feed[:, 2] + 1) % C  # what step 2 emitted, fed to step 3
    before, after = (decoder.rollout_counted(grid, [5] * B, f).logits for f in (feed, changed))
    torch.testing.assert_close(before[:, :3], after[:, :3])
    assert not torch.allclose(before[:, 3], after[:, 3])


def test_dropout_draws_one_mask_of_the_cells_per_rollout():
    decoder = make(dropout=0.5)
    grid = torch.randn(B, L, D)
    torch.manual_seed(0)
    dropped = 2 * draw_mask(grid, 0.5) * grid
    torch.manual_seed(0)
    rollout = decoder.rollout(grid, 4)
    torch.testing.assert_close(rollout.logits, decoder.eval().rollout(dropped, 4).logits)


def test_dropout_of_the_layers_is_for_training_only():
    decoder = make(layer_dropout=0.5)
    grid = torch.randn(B, L, D)
    assert not torch.equal(decoder.rollout(grid, 2).logits, decoder.rollout(grid, 2).logits)
    decoder.eval()
    torch.testing.assert_close(decoder.rollout(grid, 2).logits, make().rollout(grid, 2).logits)


def test_positions_must_suffice():
    decoder = make(max_steps=3)
    grid = torch.randn(B, L, D)
    assert decoder.rollout(grid, 3).logits.shape == (B, 3, C + 1)
    remedy = "cannot decode 4 steps with 3 positions; raise the decoder's max_steps to at least 4"
    with pytest.raises(ValueError, match=remedy):
        decoder.rollout(grid, 4, until_end=True)  # before an image needs it
    with pytest.raises(ValueError, match=remedy):
        decoder.rollout_counted(grid, [1, 4, 2], torch.zeros(B, 4, dtype=torch.long))
    state = decoder.init_state(grid)
    for _ in range(3):
        _, state, _ = decoder.step(torch.zeros(B, dtype=torch.long), state)
    with pytest.raises(ValueError, match=remedy):
        decoder.step(torch.zeros(B, dtype=torch.long), state)


@pytest.mark.parametrize("attention_size", [None, 0, 10])
def test_heads_share_the_attention_evenly(attention_size):
    with pytest.raises(
        ValueError, match=f"attention_size={attention_size} cannot be shared by 3 heads"
    ):
        make(attention_size=attention_size)


def test_sizes_of_its_own_are_positive():
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        make(num_layers=0)
