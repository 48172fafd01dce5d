"""A head whose label sets follow from a learned decision, in mmpretrain's protocol."""

import pytest
import torch
from mmpretrain.structures import DataSample

from mmorderless.models.heads import DecidedHead

C, D = 5, 4
SETS = ([0, 3], [], [4])
DECISIONS = {
    "thresholds": dict(type="ThresholdDecision", widths=(8, 6)),
    "count": dict(type="CountDecision", widths=(8, 6)),
    "quantity": dict(type="QuantityDecision", widths=(8, 6)),
}


def make(decision="count", **options):
    torch.manual_seed(0)
    head = dict(
        num_classes=C,
        in_channels=D,
        decision=DECISIONS[decision],
        loss=dict(type="LSEPLoss"),
    )
    head = DecidedHead(**head | options)
    head.init_weights()
    return head


def samples():
    return [DataSample().set_gt_label(torch.tensor(x, dtype=torch.long)) for x in SETS]


def features():
    return torch.randn(len(SETS), D, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("decision", DECISIONS)
def test_learns_a_tiny_batch(decision):
    head, feats = make(decision), (features(),)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(200):
        losses = head.loss(feats, samples())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert set(losses) == {"loss", "loss_decision"}
    given = [DataSample(metainfo={"img_path": name}) for name in "abc"]
    predicted = head.eval().predict(feats, given)
    assert [sample.pred_label.tolist() for sample in predicted] == list(SETS)
    assert [sample.img_path for sample in predicted] == ["a", "b", "c"]
    logits = head(feats)
    for sample, row in zip(head.predict(feats), logits):
        assert sample.pred_score.shape == (C,)
        assert ((sample.pred_score >= 0) & (sample.pred_score <= 1)).all()
        if decision != "thresholds":
            assert sample.pred_score.argsort().tolist() == row.argsort().tolist()


def test_soft_scores_take_precedence_over_labels():
    head, given = make(), samples()
    by_label = head.loss((features(),), given)
    for sample, labels in zip(given, SETS):
        sample.set_gt_score(torch.tensor([float(c in labels) for c in range(C)]))
        sample.set_gt_label(torch.tensor([0]))
    assert head.loss((features(),), given) == by_label


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("detach", [True, False])
def test_detached_the_decision_does_not_train_the_ranker(decision, detach):
    head = make(decision, detach=detach)
    feats = features().requires_grad_()
    losses = head.loss((feats,), samples())
    ranked = [feats, *head.fc.parameters()]
    alone = torch.autograd.grad(losses["loss"], ranked, retain_graph=True)
    both = torch.autograd.grad(sum(losses.values()), ranked, retain_graph=True)
    assert all(map(torch.equal, alone, both)) == detach
    trained = torch.autograd.grad(losses["loss_decision"], list(head.decision.parameters()))
    assert any(gradient.abs().sum() > 0 for gradient in trained)


def test_thr_is_the_threshold_of_rules_that_have_one():
    assert make("thresholds").thr == 0.5
    assert make("count").thr is make("quantity").thr is None


def test_the_threshold_may_be_set_at_any_time():
    head = make("thresholds").eval()
    scores = torch.stack([sample.pred_score for sample in head.predict((features(),))])
    head.thr = 0.3
    found = [sample.pred_label.tolist() for sample in head.predict((features(),))]
    assert found == [torch.where(row >= 0.3)[0].tolist() for row in scores]
    assert (scores >= 0.3).sum() > (scores >= 0.5).sum()
    assert make("count").thr is None
