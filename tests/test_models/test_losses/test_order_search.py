from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from scipy.stats import chisquare
from torch import nn

from mmorderless.labels.vocabulary import IGNORE
from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.losses.cross_entropy import sequence_cross_entropy
from mmorderless.models.losses.order_search import OrderSearchLoss

C, D = 5, 4
LABELS = [0, 2, 4]
ORDERS = list(permutations(LABELS))


class NextTokenTable(LabelDecoder):
    """Fixed logits that depend only on the previous token, so that all probabilities are known."""

    def __init__(self):
        super().__init__(C)
        torch.manual_seed(3)
        self.table = nn.Parameter(1.5 * torch.randn(C + 2, C + 1))

    def init_state(self, grid):
        return ()

    def step(self, token, state):
        return self.table[token], state, None


def targets_of(loss, decoder, labels, grid=None):
    """Target tokens of the loss, and its value."""
    seen = []
    loss_of_tokens = loss.loss_of_tokens
    loss.loss_of_tokens = lambda x, tokens: seen.append(tokens) or loss_of_tokens(x, tokens)
    grid = torch.zeros(len(labels), 1, D) if grid is None else grid
    labels = [torch.as_tensor(label_set, dtype=torch.long) for label_set in labels]
    value = loss.forward_train(decoder, grid, labels, max_steps=9)["loss"]
    loss.loss_of_tokens = loss_of_tokens
    return seen[0], value


def frequencies(tokens):
    drawn = [tuple(row) for row in tokens[:, : len(LABELS)].tolist()]
    return [drawn.count(order) for order in ORDERS]


def ancestral_probability(decoder, order):
    """Product over the steps, each normalized over the labels that remain."""
    probability, start = 1.0, C + 1
    for t, (before, label) in enumerate(pairwise((start, *order))):
        p = decoder.table.detach()[before].softmax(0)
        probability *= float(p[label] / p[list(order[t:])].sum())
    return probability


def test_orders_follow_the_ancestral_distribution_after_a_uniform_phase():
    decoder, loss = NextTokenTable(), OrderSearchLoss(uniform_steps=1)
    loss.reseed(0, 0, 0)
    exact = np.array([ancestral_probability(decoder, order) for order in ORDERS])
    assert exact.sum() == pytest.approx(1)
    num_images = 6000
    expected = num_images * exact / exact.sum()
    uniform, searched = (
        frequencies(targets_of(loss, decoder, [LABELS] * num_images)[0]) for _ in range(2)
    )
    assert sum(uniform) == sum(searched) == num_images  # nothing but the six orders
    assert chisquare(uniform).pvalue > 0.001
    assert chisquare(searched, expected).pvalue > 0.001
    # The two tests above can fail: neither sample follows the other's distribution.
    assert chisquare(searched).pvalue < 1e-9
    assert chisquare(uniform, expected).pvalue < 1e-9


SIZES = dict(hidden_size=8, embed_size=4, attention_size=5, dropout=0.0)
SETS = [[3, 1, 0], [], [2], [4, 2, 1, 0]]


@pytest.mark.parametrize("uniform_steps", [0, 9])
def test_targets_are_the_labels_then_end_and_the_drawn_order_is_fed(uniform_steps):
    decoder = MODELS.build(dict(type="AttentionLSTM", num_classes=C, in_channels=D, **SIZES))
    grid = torch.randn(len(SETS), 6, D)
    loss = OrderSearchLoss(uniform_steps, loss_weight=2.0)
    tokens, value = targets_of(loss, decoder, SETS, grid)
    for row, label_set in zip(tokens.tolist(), SETS):
        n = len(label_set)
        assert sorted(row[:n]) == sorted(label_set)
        assert row[n:] == [C] + [IGNORE] * (4 - n)
    forced = decoder.training_rollout(grid, [len(x) + 1 for x in SETS], feed=tokens).logits
    torch.testing.assert_close(value, 2 * sequence_cross_entropy(forced, tokens))
    value.backward()
    assert all(p.grad is not None for p in decoder.parameters())


def test_draws_are_reproducible_and_differ_between_calls():
    decoder = NextTokenTable()
    draws = []
    for key in [(1, 0, 0), (1, 0, 0), (1, 1, 0), (2, 0, 0)]:
        loss = OrderSearchLoss(uniform_steps=1)
        loss.reseed(*key)
        draws.append([targets_of(loss, decoder, [LABELS] * 50)[0].tolist() for _ in range(3)])
    assert draws[0] == draws[1]
    assert draws[0] != draws[2]
    assert draws[0] != draws[3]
    assert draws[0][1] != draws[0][2]


def test_a_resumed_run_continues_the_count():
    """The order without noise shows the phase: certain logits leave one order only."""
    decoder = NextTokenTable()
    decoder.table.data = 100 * torch.arange(C + 1.0).expand(C + 2, -1)
    searched = [4, 2, 0]

    def is_uniform(loss):
        tokens = targets_of(loss, decoder, [LABELS] * 20)[0]
        return any(row[:3] != searched for row in tokens.tolist())

    first = OrderSearchLoss(uniform_steps=3)
    assert [is_uniform(first) for _ in range(2)] == [True, True]
    first.eval()
    assert is_uniform(first)  # does not count
    resumed = OrderSearchLoss(uniform_steps=3)
    resumed.load_state_dict(first.state_dict())
    assert [is_uniform(resumed) for _ in range(2)] == [True, False]
    assert int(resumed.batches_seen) == 4


def samples(sets):
    return [DataSample().set_gt_label(torch.tensor(x, dtype=torch.long)) for x in sets]


def head_of(**loss):
    return MODELS.build(
        dict(
            type="OrderlessRNNHead",
            num_classes=C,
            in_channels=D,
            max_steps=6,
            decoder=SIZES,
            loss=dict(type="OrderSearchLoss", **loss),
        )
    )


def test_a_head_learns_a_tiny_batch():
    head, feats = head_of(uniform_steps=10), (torch.randn(len(SETS), D, 2, 3),)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(150):
        loss = head.loss(feats, samples(SETS))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    predicted = head.eval().predict(feats)
    assert [set(s.pred_label.tolist()) for s in predicted] == [set(x) for x in SETS]


def test_errors():
    with pytest.raises(ValueError, match="uniform_steps must not be negative, got -1"):
        OrderSearchLoss(uniform_steps=-1)
    head = head_of()
    feats = torch.randn(3, D, 2, 3)
    with pytest.raises(ValueError, match=r"label set of image 1 .* outside 0 … 4"):
        head.loss((feats,), samples([[0], [5], [1]]))
    soft = samples([[0], [1], [2]])
    for sample in soft:
        sample.set_gt_score(torch.tensor([0.4, 0, 0, 0, 0]))
    with pytest.raises(ValueError, match=r"set model\.train_cfg=None"):
        head.loss((feats,), soft)
    feats[2] = float("nan")
    with pytest.raises(ValueError, match="logits of image 2 of the batch are not finite"):
        head.loss((feats,), samples([[0], [1, 2], []]))
