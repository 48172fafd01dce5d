"""Class queries: their equations, where they look, and what predictions carry."""

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.class_queries import ClassQueries

C, D = 5, 6
SIZES = dict(num_classes=C, in_channels=D, loss=dict(type="MeanBCELoss"))
HEADS = {
    "class queries": dict(type="ClassQueryHead", **SIZES),
    "hidden layer": dict(type="MultiLabelMLPHead", **SIZES),
    "known sets": dict(type="KnownSetsHead", **SIZES),
}
LABELS = [[0, 2], [1], [0, 2], [3, 4]]
FEATS = {kind: (torch.randn(4, D, 2, 4),) for kind in HEADS}
FEATS["hidden layer"] = (torch.randn(4, D),)


def build(**options):
    torch.manual_seed(0)
    return MODELS.build({**HEADS["class queries"], **options})


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


def test_a_number_of_labels_takes_the_place_of_the_threshold():
    head, feats = build(topk=2, return_attention=True).eval(), FEATS["class queries"]
    for sample, scores in zip(head.predict(feats), head(feats)):
        assert sample.pred_label.tolist() == scores.topk(2).indices.tolist()
        assert sample.attention.shape == (2, 2, 4)


def test_tokens_are_cells_too():
    head = build(drop_class_token=True).eval()
    tokens = torch.randn(2, 5, D)
    assert torch.equal(head((tokens,)), head.queries(tokens[:, 1:]).logits)


@pytest.mark.parametrize("bad", [dict(query_size=0), dict(hidden_size=-1)])
def test_sizes_are_positive(bad):
    with pytest.raises(ValueError, match=f"{next(iter(bad))} must be at least 1"):
        build(queries=bad)


@pytest.mark.parametrize("kind", HEADS)
def test_a_batch_has_the_mean_loss_of_its_halves_and_trains_under_autocast(kind):
    """Processes average the gradients of their parts of a batch."""
    head, feats = MODELS.build(HEADS[kind]).eval(), FEATS[kind]
    if kind == "known sets":
        head.set_label_sets("abcde", LABELS)
    samples = [DataSample().set_gt_label(torch.tensor(labels)) for labels in LABELS]
    whole = head.loss(feats, samples)
    halves = [head.loss((feats[0][part],), samples[part]) for part in (slice(2), slice(2, 4))]
    with torch.autocast("cpu", torch.bfloat16):
        low = head.loss(feats, samples)
        predicted = head.predict(feats)
    for name, loss in whole.items():
        torch.testing.assert_close(loss, (halves[0][name] + halves[1][name]) / 2)
        torch.testing.assert_close(low[name].float(), loss, atol=0.05, rtol=0.05)
    sum(low.values()).backward()
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())
    for sample, exact in zip(predicted, head.predict(feats)):
        torch.testing.assert_close(
            sample.pred_score.float(), exact.pred_score, atol=0.05, rtol=0.05
        )


def test_the_mlp_head_has_a_hidden_layer_and_dropout_on_both_sides():
    head = MODELS.build({**HEADS["hidden layer"], "widths": (4,)})
    feats = FEATS["hidden layer"]
    assert not torch.equal(head(feats), head(feats))
    head.eval()
    first, second = head.net[1][0], head.net[1][3]
    assert torch.equal(head(feats), second(first(feats[0]).relu()))


def test_an_unknown_option_of_the_queries_is_named():
    with pytest.raises(ValueError, match="queries has no option 'size'; choose from hidden_size"):
        build(queries=dict(size=3))
