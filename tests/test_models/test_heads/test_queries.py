import math
from itertools import product

import pytest
import torch
from torch import nn

from mmorderless.models.heads.queries import AttentionLayer, GroupLinear, cell_positions

B, Q, L, H = 2, 3, 5, 8


def test_a_layer_equals_torchs_encoder_layer():
    """Where queries, keys and values are the cells, without positions."""
    ours = AttentionLayer(H, 2, 2, dropout=0.0)
    theirs = nn.TransformerEncoderLayer(H, 2, 16, dropout=0.0, batch_first=True)
    names = {
        "attention": "self_attn",
        "attention_norm": "norm1",
        "feedforward.0": "linear1",
        "feedforward.3": "linear2",
        "feedforward_norm": "norm2",
    }
    for name, other in names.items():
        theirs.get_submodule(other).load_state_dict(ours.get_submodule(name).state_dict())
    x = torch.randn(B, L, H)
    torch.testing.assert_close(ours(x, x, x), theirs(x))


def test_positions_of_queries_are_for_the_attention_alone():
    layer = AttentionLayer(H, 2, 2, dropout=0.0)
    x, cells, positions = torch.randn(B, Q, H), torch.randn(B, L, H), torch.randn(Q, H)
    assert not torch.allclose(layer(x, cells, cells, positions), layer(x, cells, cells))
    nn.init.zeros_(layer.attention.out_proj.weight)  # nothing is seen
    assert torch.equal(layer(x, cells, cells, positions), layer(x, cells, cells))


def test_dropout_is_for_training_only():
    layer, x = AttentionLayer(H, 2, 2, dropout=0.5), torch.randn(B, L, H)
    assert not torch.equal(layer(x, x, x), layer(x, x, x))
    layer.eval()
    assert torch.equal(layer(x, x, x), layer(x, x, x))


def test_heads_share_the_size():
    with pytest.raises(ValueError, match=r"hidden_size=8 .* by 3 heads; set it to a multiple"):
        AttentionLayer(H, 3, 2, 0.1)


def test_group_readout_of_an_example():
    readout = GroupLinear(num_groups=2, hidden_size=2, num_classes=3)
    weight = torch.tensor([[[1.0, 0], [0, 1]], [[1, 1], [0, -1]]])
    with torch.no_grad():
        readout.weight.copy_(weight)
    queries = torch.tensor([[[1.0, 2], [3, 4]]])
    assert readout(queries).tolist() == [[1, 2, 3]]  # the fourth is not a class


def test_class_wise_readout_of_an_example():
    readout = GroupLinear(num_groups=2, hidden_size=2, num_classes=2)
    with torch.no_grad():
        readout.weight.copy_(torch.tensor([[1.0, 0], [1, 1]])[:, :, None])
        readout.bias.copy_(torch.tensor([0.5, -1]))
    assert readout(torch.tensor([[[1.0, 2], [3, 4]]])).tolist() == [[1.5, 6]]


@pytest.mark.parametrize("groups", [1, 3, 5, 10])
def test_a_class_depends_on_the_query_of_its_group_alone(groups):
    readout, queries = GroupLinear(groups, H, 10), torch.randn(B, groups, H, requires_grad=True)
    size = math.ceil(10 / groups)
    for c, logit in enumerate(readout(queries).sum(0)):
        (gradient,) = torch.autograd.grad(logit, queries, retain_graph=True)
        assert gradient.abs().sum((0, 2)).nonzero().flatten().tolist() == [c // size]


@pytest.mark.parametrize("layout", [(2, 3), (1, 1), (6,)])
def test_positions_equal_the_formula(layout):
    size = 8
    share = size // len(layout)
    found = cell_positions(layout, size, torch.empty(1))
    for cell, row in zip(product(*map(range, layout)), found, strict=True):
        for axis, (i, n) in enumerate(zip(cell, layout)):
            for k in range(share):
                angle = 2 * math.pi * (i + 1) / n / 10_000 ** (2 * (k // 2) / share)
                value = math.cos(angle) if k % 2 else math.sin(angle)
                assert row[axis * share + k].item() == pytest.approx(value, abs=1e-5)
    assert cell_positions(layout, size, torch.empty(1).bfloat16()).dtype == torch.bfloat16
