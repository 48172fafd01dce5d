"""Set pooling: worked examples, invariance to the order of the steps, no label twice."""

import math

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.losses.set_pool import balanced_end_loss, pooled_label_loss

# Three classes and END at three steps; the labels are {0, 2}.
STEPS = torch.tensor([[[0.6, 0.2, 0.1, 0.1], [0.3, 0.1, 0.5, 0.1], [0.1, 0.1, 0.2, 0.6]]])
LABELS = torch.tensor([[True, False, True]])
C, D = 5, 8
SETS = ([0, 3, 4], [], [2], [1, 2])
FEATS = (torch.randn(len(SETS), D, 2, 3, generator=torch.Generator().manual_seed(0)),)


def make(**options):
    torch.manual_seed(0)
    head = dict(
        type="OrderlessRNNHead",
        num_classes=C,
        in_channels=D,
        max_steps=6,
        decoder=dict(hidden_size=16, embed_size=4, attention_size=5, dropout=0.0),
        loss=dict(type="SetPoolLoss"),
        decoding=dict(no_repeat=True),
    )
    return MODELS.build({**head, **options})


def samples(sets=SETS):
    return [DataSample().set_gt_label(torch.tensor(x, dtype=torch.long)) for x in sets]


def test_worked_example():
    log_p = STEPS.log()
    assert pooled_label_loss(log_p[..., :3], LABELS).item() == pytest.approx(0.475705, abs=1e-6)
    end = balanced_end_loss(log_p[..., 3], torch.tensor([2]))
    assert end.item() == pytest.approx(0.308093, abs=1e-6)  # the plain mean over steps: 0.240516


def test_the_order_of_the_steps_has_no_effect():
    log_p = torch.randn(2, 5, 6).log_softmax(2)[..., :5]
    labels = torch.tensor([[1, 1, 0, 1, 0], [0, 1, 1, 1, 0]]).bool()
    loss = pooled_label_loss(log_p, labels)
    for order in ([1, 2, 0], [2, 1, 0]):
        assert pooled_label_loss(log_p[:, [*order, 3, 4]], labels) == loss
    assert pooled_label_loss(log_p[:, [3, 1, 2, 0, 4]], labels) != loss  # step 3 does not count


def test_pooling_keeps_the_largest_probability():
    log_p = torch.randn(2, 4, 3).log_softmax(2)
    labels = torch.tensor([[1, 1, 1], [0, 1, 0]]).bool()
    pooled = torch.stack([log_p[0, :3].amax(0), log_p[1, 0]]).exp()
    expected = F.binary_cross_entropy(pooled, labels.float())
    torch.testing.assert_close(pooled_label_loss(log_p, labels), expected)


def test_an_image_without_labels_trains_end_alone():
    log_p = torch.randn(1, 3, 4, requires_grad=True)
    none = torch.zeros(1, 3, dtype=torch.bool)
    loss = pooled_label_loss(log_p.log_softmax(2)[..., :3], none)
    assert loss == 0
    assert torch.autograd.grad(loss, log_p)[0].eq(0).all()
    end = balanced_end_loss(torch.tensor([[math.log(0.2), -1.0]]), torch.tensor([0]))
    assert end.item() == pytest.approx(-math.log(0.2) / 2)


@pytest.mark.parametrize("certain", [0, 3])
def test_certain_steps_have_finite_gradients(certain):
    logits = torch.zeros(1, 3, 4)
    logits[..., certain] = 1e4
    logits.requires_grad_()
    log_p = logits.log_softmax(2)
    wrong = torch.tensor([[False, True, True]])
    loss = pooled_label_loss(log_p[..., :3], wrong) + balanced_end_loss(log_p[..., 3], wrong.sum(1))
    assert loss.isfinite()
    assert torch.autograd.grad(loss, logits)[0].isfinite().all()


def test_learns_a_tiny_batch_without_any_order():
    head = make()
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(150):
        losses = head.train().loss(FEATS, samples())
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    assert set(losses) == {"loss", "loss_end"}
    # Unused parameters would need find_unused_parameters in DDP.
    assert all(p.grad is not None for p in head.parameters())
    predicted = head.eval().predict(FEATS)
    assert [sorted(s.pred_label.tolist()) for s in predicted] == list(SETS)


def test_scores_are_those_of_the_masked_softmax():
    head = make(decoding=dict(no_repeat=True, min_labels=3)).eval()
    logits = head(FEATS)
    for row, sample in zip(logits, head.predict(FEATS)):
        scores, masked = torch.zeros(C), row.clone()
        for t, token in enumerate([*sample.sequence.tolist(), C][: len(row)]):
            p = masked[t].softmax(0)
            scores = torch.maximum(scores, p[:C])
            if token < C:
                assert sample.sequence_score[t].item() == pytest.approx(p[token].item())
                masked[:, token] = -math.inf
        torch.testing.assert_close(sample.pred_score, scores)


def test_emitted_classes_are_masked_and_end_never_is():
    head, made = make(loss=dict(type="SetPoolLoss", end_weight=2.0)), []
    rollout = head.decoder.training_rollout

    def watched(*args, **options):
        made.append(rollout(*args, **options))
        return made[-1]

    head.decoder.training_rollout = watched
    sets = (range(C), [], [2], [1, 2])
    losses = head.loss(FEATS, samples(sets))
    logits, tokens, _ = made[0]
    pooled, end = [], []
    for row, emitted, labels in zip(logits.detach(), tokens.tolist(), sets):
        n, p = len(labels), row.clone()
        labels_emitted = [token for token in emitted[:n] if token < C]
        assert len(set(labels_emitted)) == len(labels_emitted)
        for t in range(n + 1):
            p[t, [token for token in emitted[:t] if token < C]] = -math.inf
        p = p.softmax(1)
        pooled.append(p[:n, :C].amax(0) if n else torch.zeros(C))
        e = p[: n + 1, C]
        before = -(1 - e[:n]).log().mean() if n else 0
        end.append((before - e[n].log()) / 2)
    truth = torch.tensor([[float(c in labels) for c in range(C)] for labels in sets])
    torch.testing.assert_close(losses["loss"], F.binary_cross_entropy(torch.stack(pooled), truth))
    torch.testing.assert_close(losses["loss_end"], 2 * torch.stack(end).mean())
