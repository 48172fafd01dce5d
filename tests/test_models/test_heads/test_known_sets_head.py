"""Known sets: what the head takes from the training set, its equations, and what it predicts."""

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

from mmorderless.models.heads import known_sets_head
from mmorderless.models.heads.known_sets_head import KnownSetsHead

C, D = 5, 6
CLASSES = ["a", "b", "c", "d", "e"]
TRAINING = [[0, 2], [1], [2, 0], [], [1, 3, 4], [2, 0], [1]]
SETS = [[1, 0, 1, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 1, 1]]
COUNTS = [3, 2, 1, 1]


def build(known=True, **options):
    torch.manual_seed(0)
    head = MODELS.build(dict(type="KnownSetsHead", num_classes=C, in_channels=D, **options))
    for layer in (head.noisy, head.image_embedding):
        torch.nn.init.normal_(layer.weight, std=0.05)
    if known:
        head.set_label_sets(CLASSES, TRAINING)
    return head


def feats(images=4):
    generator = torch.Generator().manual_seed(1)
    return (3 * torch.randn(images, D, 2, 4, generator=generator),)


def samples_of(label_sets):
    return [DataSample().set_gt_label(torch.tensor(s, dtype=torch.long)) for s in label_sets]


def test_the_distinct_sets_and_their_counts():
    head = build()
    assert head.known_sets.tolist() == SETS  # the most frequent first
    assert head.set_counts.tolist() == COUNTS
    assert head.known_sets.dtype == torch.float16


def test_sets_that_occur_once_are_left_out_above_a_number(monkeypatch):
    logged = []
    monkeypatch.setattr(known_sets_head, "print_log", lambda line, **_: logged.append(line))
    assert build(max_sets=4).set_counts.tolist() == COUNTS
    assert build(max_sets=3).set_counts.tolist() == COUNTS[:2]
    start = (
        "KnownSetsHead: 4 distinct label sets in 7 training images, of which 71.4 % share theirs "
        "with another"
    )
    assert logged == [
        start,
        f"{start}; 2 that occur once are left out (more than max_sets=3)",
    ]
    head = build(known=False, max_sets=1)
    with pytest.raises(ValueError, match=r"max_sets=1\), and none is left; raise max_sets or ch"):
        head.set_label_sets(CLASSES, [[0], [1], []])


def test_a_head_without_training_labels_says_what_is_missing():
    with pytest.raises(ValueError, match=r"known label sets needs the training set: add custom_h"):
        build(known=False).eval().predict(feats())


@pytest.mark.parametrize("bad", [dict(theta=0.0), dict(theta=1.0), dict(beta=-1.0)])
def test_options_are_in_their_range(bad):
    with pytest.raises(ValueError, match=r"theta must be in \(0, 1\) and beta at least 0, got"):
        build(**bad)


@pytest.mark.parametrize("rule", ["thr", "topk"])
def test_there_is_no_other_rule_than_that_of_least_risk(rule):
    with pytest.raises(TypeError, match=rule):
        build(**{rule: 1})


def test_the_losses_are_those_of_the_equations():
    head = build(loss=dict(type="MeanBCELoss", loss_weight=0.5)).eval()
    ties = torch.tensor([1.0, 0.5, 0.0, 2.0, -1.0])
    with torch.no_grad():
        head.scalars.copy_(torch.tensor([0.08, 0.06, -0.03]))
        head.ties.copy_(ties / 10)
    label_sets = [[0, 2], [], [0, 1], [1]]
    losses = head.loss(feats(), samples_of(label_sets))
    found = head.queries(head.pre_logits(feats()))
    logits = found.logits + found.hidden @ head.noisy.weight.T + head.noisy.bias
    image = found.hidden @ head.image_embedding.weight.T
    y = torch.tensor([[c in labels for c in range(C)] for labels in label_sets]).float()
    pi = torch.tensor(-0.3).sigmoid()
    expected = []
    for b in range(4):
        left = {tuple(s): n for s, n in zip(SETS, COUNTS)}
        own = tuple(y[b].int().tolist())
        left[own] = left.get(own, 1) - 1
        weight, noisy = {}, {}
        for s, n in left.items():
            known = torch.tensor(s).float()
            score = 0.8 * found.logits[b] @ known + image[b] @ head.set_embedding(known)
            weight[s] = n**0.6 * score.exp()
            p = (logits[b] + ties * (2 * known - 1)).sigmoid()
            noisy[s] = torch.where(y[b] > 0, p, 1 - p).prod()
        mixed = pi * weight[own] + (1 - pi) * sum(weight[s] * noisy[s] for s in left)
        expected.append((mixed / sum(weight.values())).log())
    torch.testing.assert_close(losses["loss_set"], -torch.stack(expected).mean() / C)
    # Of a set that is not known nothing is left out.
    log_probability = head.distribution(found).log_probability(y.bool())
    torch.testing.assert_close(log_probability[2], expected[2])
    bce = torch.nn.functional.binary_cross_entropy_with_logits(logits, y)
    torch.testing.assert_close(losses["loss_labels"], 0.5 * bce)
    assert set(losses) == {"loss_set", "loss_labels"}


def test_at_first_all_logits_are_those_of_the_queries():
    head = KnownSetsHead(C, D)
    head.set_label_sets(CLASSES, TRAINING)
    found = head.queries(head.pre_logits(feats()))
    sets, _, scores, logits = head.parts(found)
    assert torch.equal(logits, found.logits)
    assert torch.equal(scores, found.logits @ sets.T)


def test_the_scalars_move_ten_times_as_fast():
    head = build()
    before, ties = 10 * head.scalars.detach().clone(), 10 * head.ties.detach().clone()
    assert before.tolist() == [1.0, 0.5, 0.0]
    assert ties.tolist() == [1.0] * C
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    bias = head.noisy.bias.detach().clone()
    sum(head.loss(feats(), samples_of(TRAINING[:4])).values()).backward()
    optimizer.step()
    moved = (10 * head.scalars - before).abs()
    torch.testing.assert_close(moved, torch.full((3,), 1e-2), rtol=1e-3, atol=0)
    moved = (10 * head.ties - ties).abs()
    torch.testing.assert_close(moved, torch.full((C,), 1e-2), rtol=1e-3, atol=0)
    torch.testing.assert_close(
        (head.noisy.bias - bias).abs(), torch.full((C,), 1e-3), rtol=1e-3, atol=0
    )


def distribution_of(head):
    return head.distribution(head.queries(head.pre_logits(feats())))


@torch.no_grad()
def test_predictions_are_those_of_the_distribution():
    head = build(return_attention=True).eval()
    kept = DataSample()
    samples = head.predict(feats(), [kept, None, None, None])
    assert samples[0] is kept
    distribution = distribution_of(head)
    chosen = distribution.choose(0.4, 1.0)
    emitted = distribution.emit(chosen)
    attention = head.queries(head.pre_logits(feats())).attention
    for b, sample in enumerate(samples):
        labels = sample.pred_label
        assert sorted(labels.tolist()) == chosen[b].nonzero()[:, 0].tolist()
        assert torch.equal(sample.sequence, labels)
        assert torch.equal(sample.sequence_score, emitted.probabilities[b, : len(labels)])
        assert torch.equal(sample.pred_score, distribution.marginals[b])
        assert torch.equal(sample.attention, attention[b, labels].view(-1, 2, 4))
        probability = sample.sequence_score.prod() * sample.end_score
        log_probability = distribution.log_probability(chosen)[b]
        torch.testing.assert_close(probability, log_probability.exp())
    assert len({len(sample.pred_label) for sample in samples}) > 1
    torch.testing.assert_close(head(feats()).sigmoid(), distribution.marginals)
    head.theta, head.beta, head.return_attention = 0.1, 0.0, False
    for sample, score in zip(head.predict(feats()), distribution.marginals):
        assert sorted(sample.pred_label.tolist()) == torch.where(score >= 0.1)[0].tolist()
        assert "attention" not in sample


@torch.no_grad()
def test_known_labels_condition_the_prediction():
    head = build().eval()
    assert head.takes_known_labels
    samples = [DataSample() for _ in range(4)]
    samples[1].set_field(torch.tensor([3]), "given", dtype=torch.Tensor)
    samples[1].set_field(torch.tensor([2, 0]), "excluded", dtype=torch.Tensor)
    alone = head.predict(feats())
    samples = head.predict(feats(), samples)
    for b in (0, 2, 3):
        torch.testing.assert_close(samples[b].pred_score, alone[b].pred_score)
    known = torch.zeros(2, 4, C, dtype=torch.bool)
    known[0, 1, 3] = known[1, 1, [0, 2]] = True
    expected = distribution_of(head).condition(*known).marginals[1]
    assert torch.equal(samples[1].pred_score, expected)
    assert samples[1].pred_score[[0, 2, 3]].tolist() == [0, 0, 1]
    assert not torch.allclose(samples[1].pred_score[[1, 4]], alone[1].pred_score[[1, 4]], atol=0.01)
    assert samples[1].pred_label[0] == 3
    assert samples[1].sequence_score[0] == 1
    assert not {0, 2} & set(samples[1].pred_label.tolist())


def test_a_checkpoint_is_complete():
    trained, fresh = build().eval(), build(known=False).eval()
    assert {"known_sets", "set_counts"} <= trained.state_dict().keys()
    assert not {"known_sets", "set_counts"} & fresh.state_dict().keys()
    fresh.load_state_dict(trained.state_dict())
    assert fresh.known_sets.dtype == torch.float16
    assert torch.equal(fresh(feats()), trained(feats()))
    other = KnownSetsHead(C, D)  # with other sets of its own
    other.set_label_sets(CLASSES, [[0]])
    other.load_state_dict(trained.state_dict())
    assert torch.equal(other.eval()(feats()), trained(feats()))


def test_under_autocast_only_the_trunk_is_in_low_precision():
    head = build().eval()
    exact = head.predict(feats())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = head.loss(feats(), samples_of(TRAINING[:4]))
        found = head.queries(head.pre_logits(feats()))
        assert found.attention.dtype == torch.bfloat16
        marginals = head.distribution(found).marginals
        samples = head.predict(feats())
    torch.testing.assert_close(marginals, head.distribution(found).marginals)
    for sample, other in zip(samples, exact):
        assert sample.pred_score.dtype == torch.float32
        torch.testing.assert_close(sample.pred_score, other.pred_score, rtol=0.1, atol=0.05)
    sum(losses.values()).backward()
    assert all(p.grad.isfinite().all() for p in head.parameters())


def test_buffers_are_averaged_over_processes_exactly(run_two_processes):
    run_two_processes(
        """
import sys

import torch
import torch.distributed as dist
from mmengine.dist import all_reduce_params

from mmorderless.models.heads import known_sets_head
from mmorderless.models.heads.known_sets_head import KnownSetsHead

rank, store = int(sys.argv[1]), sys.argv[2]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
head = KnownSetsHead(3, 4)
head.set_label_sets("abc", [[0, 2], [0, 2], [0, 2], [1]])
before = [buffer.clone() for buffer in head.buffers()]
all_reduce_params(head.buffers(), op="mean")
assert [b.tolist() for b in head.buffers()] == [b.tolist() for b in before]
assert [b.dtype for b in head.buffers()] == [torch.float16, torch.int64]
"""
    )
