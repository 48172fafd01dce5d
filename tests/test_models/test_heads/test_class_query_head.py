"""Class queries: their equations, where they look, and what predictions carry."""

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.class_queries import ClassQueries

C, D = 5, 6


def build(**options):
    torch.manual_seed(0)
    cfg = dict(type="ClassQueryHead", num_classes=C, in_channels=D, loss=dict(type="MeanBCELoss"))
    return MODELS.build({**cfg, **options})


def test_logits_are_those_of_the_equations():
    torch.manual_seed(0)
    net = ClassQueries(C, D, hidden_size=7, query_size=4).double().eval()
    cells = torch.randn(2, 3, D, dtype=torch.float64)
    found = net(cells)
    for b in range(2):
        hidden = (net.hidden.weight @ cells[b].mean(0) + net.hidden.bias).relu()
        keys = [net.key.weight @ cell + net.key.bias for cell in cells[b]]
        for c in range(C):
            weights = torch.stack([net.queries[c] @ key for key in keys]).softmax(0)
            seen = sum(weight * key for weight, key in zip(weights, keys)).relu()
            logit = net.classifier.weight[c] @ hidden + net.classifier.bias[c]
            assert torch.allclose(found.logits[b, c], logit + net.readout[c] @ seen)
            assert torch.allclose(found.attention[b, c], weights)
    assert torch.allclose(
        found.hidden, (cells.mean(1) @ net.hidden.weight.T + net.hidden.bias).relu()
    )


def test_dropout_acts_in_training_alone():
    net, cells = ClassQueries(C, D), torch.randn(2, 3, D)
    assert not torch.equal(net(cells).logits, net(cells).logits)
    net.eval()
    assert torch.equal(net(cells).logits, net(cells).logits)


def test_labels_come_by_probability_with_the_map_of_each():
    head = build(thr=0.4, return_attention=True).eval()
    feats = (torch.randn(3, D, 2, 4),)
    given = DataSample()
    samples = head.predict(feats, [given, None, None])
    assert samples[0] is given
    scores = head(feats).sigmoid()
    found = head.queries(feats[0].flatten(2).transpose(1, 2))
    for b, sample in enumerate(samples):
        labels = sample.pred_label.tolist()
        assert set(labels) == set(torch.where(scores[b] >= 0.4)[0].tolist())
        assert scores[b][labels].tolist() == sorted(scores[b][labels].tolist(), reverse=True)
        assert torch.equal(sample.attention, found.attention[b, labels].view(-1, 2, 4))
        assert torch.equal(sample.pred_score, scores[b])
    assert any(len(sample.pred_label) > 1 for sample in samples)
    assert "attention" not in build().eval().predict(feats)[0]


def test_tokens_are_cells_too():
    head = build(drop_class_token=True).eval()
    tokens = torch.randn(2, 5, D)
    assert torch.equal(head((tokens,)), head.queries(tokens[:, 1:]).logits)


@pytest.mark.parametrize("bad", [dict(query_size=0), dict(hidden_size=-1)])
def test_sizes_are_positive(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be at least 1"):
        build(queries=bad)


def test_the_mlp_head_has_a_hidden_layer_and_dropout_on_both_sides():
    head = MODELS.build(
        dict(
            type="MultiLabelMLPHead",
            num_classes=C,
            in_channels=D,
            widths=(4,),
            loss=dict(type="MeanBCELoss"),
        )
    )
    feats = (torch.randn(2, D),)
    assert not torch.equal(head(feats), head(feats))
    head.eval()
    first, second = head.net[1][0], head.net[1][3]
    assert torch.equal(head(feats), second(first(feats[0]).relu()))


def test_an_unknown_option_of_the_queries_is_named():
    with pytest.raises(ValueError, match="queries has no option 'size'; choose from hidden_size"):
        build(queries=dict(size=3))
