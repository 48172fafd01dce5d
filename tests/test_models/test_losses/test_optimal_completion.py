from itertools import permutations, product

import pytest
import torch
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from scipy.stats import chisquare
from torch import nn

from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.losses.optimal_completion import (
    OCDLoss,
    completion_targets,
    policy_cross_entropy,
)

D = 4
SIZES = dict(hidden_size=8, embed_size=4, attention_size=5, dropout=0.0)


def cost(sequence, labels):
    """Wrong or repeated tokens, and labels missing at END."""
    wrong = sum(
        token not in labels or token in sequence[:i] for i, token in enumerate(sequence[:-1])
    )
    return wrong + len(labels - set(sequence))


def optimal_tokens(prefix, labels, num_classes):
    """First tokens of the completions of least cost, by trying all of up to five tokens."""
    end = num_classes
    completions = [
        (*middle, end) for n in range(5) for middle in product(range(num_classes), repeat=n)
    ]
    costs = {c: cost((*prefix, *c), labels) for c in completions}
    least = min(costs.values())
    return {completion[0] for completion, value in costs.items() if value == least}


@pytest.mark.parametrize("num_classes", [1, 2, 3])
def test_policy_equals_brute_force_over_completions(num_classes):
    for chosen in product([False, True], repeat=num_classes):
        labels = {c for c in range(num_classes) if chosen[c]}
        for length in range(4):
            prefixes = list(product(range(num_classes), repeat=length))
            tokens = torch.tensor([[*prefix, 0] for prefix in prefixes])
            policy = completion_targets(tokens, torch.tensor(chosen).expand(len(prefixes), -1))
            for prefix, row in zip(prefixes, policy[:, length]):
                best = optimal_tokens(prefix, labels, num_classes)
                expected = [1 / len(best) if t in best else 0 for t in range(num_classes + 1)]
                torch.testing.assert_close(row, torch.tensor(expected))


def test_nothing_counts_after_the_first_end():
    tokens = torch.tensor([[1, 2, 2, 0], [2, 0, 2, 1], [0, 1, 0, 1]])  # END is 2
    counted = completion_targets(tokens, torch.ones(3, 2, dtype=torch.bool)).sum(2)
    assert counted.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]]


class NextTokenTable(LabelDecoder):
    """Fixed logits that depend only on the previous token."""

    def __init__(self, num_classes):
        super().__init__(num_classes)
        torch.manual_seed(3)
        self.table = nn.Parameter(torch.randn(num_classes + 2, num_classes + 1))

    def init_state(self, grid):
        return ()

    def step(self, token, state):
        return self.table[token], state, None


def run_loss(loss, decoder, label_sets, max_steps, grid=None):
    """Value of the loss, and the rollout that it made."""
    made = []
    rollout = decoder.rollout
    decoder.rollout = lambda *args, **options: made.append(rollout(*args, **options)) or made[-1]
    grid = torch.zeros(len(label_sets), 1, D) if grid is None else grid
    labels = [torch.as_tensor(label_set, dtype=torch.long) for label_set in label_sets]
    value = loss.forward_train(decoder, grid, labels, max_steps)["loss"]
    decoder.rollout = rollout
    return value, made[0]


def test_tokens_are_drawn_from_the_prediction_not_from_the_labels():
    """A label that was drawn is masked, and the others are normalized again."""
    decoder, loss = NextTokenTable(2), OCDLoss()
    loss.reseed(0, 0, 0)
    num_images = 4000
    _, rollout = run_loss(loss, decoder, [[0]] * num_images, max_steps=2)
    p = decoder.table.detach().double().softmax(1)
    expected, counts = [], []
    for first, second in permutations(range(3), 2):  # images whose first token is a label
        if first != 2:
            expected.append(float(p[3, first] * p[first, second] / (1 - p[first, first])))
            counts.append(int((rollout.tokens == torch.tensor([first, second])).all(1).sum()))
    expected.append(float(p[3, 2]))
    counts.append(int((rollout.tokens[:, 0] == 2).sum()))
    assert sum(counts) == num_images
    assert chisquare(counts, num_images * torch.tensor(expected)).pvalue > 0.001


def test_no_label_is_drawn_twice_and_end_follows_the_last():
    loss = OCDLoss()
    loss.reseed(0, 0, 0)
    _, rollout = run_loss(loss, NextTokenTable(4), [[1]] * 50, max_steps=8)
    lengths = set()
    for tokens in rollout.tokens.tolist():
        labels = tokens[: tokens.index(4)]  # every image ends: after four labels only END is left
        assert len(set(labels)) == len(labels)
        lengths.add(len(labels))
    assert lengths == {0, 1, 2, 3, 4}


SETS = [[3, 1, 0], [], [2], [4, 2, 1, 0]]


def test_loss_equals_a_loop_over_images_and_steps():
    decoder = MODELS.build(dict(type="AttentionLSTM", num_classes=5, in_channels=D, **SIZES))
    grid = torch.randn(len(SETS), 6, D)
    value, (logits, tokens, _) = run_loss(OCDLoss(loss_weight=2.0), decoder, SETS, 7, grid)
    lengths = [tokens.shape[1]] * len(SETS)
    fed = decoder.training_rollout(grid, lengths, feed=tokens).logits  # samples are fed back
    terms = []
    for image, label_set in enumerate(SETS):
        remaining = set(label_set)
        for t, token in enumerate(tokens[image].tolist()):
            log_p = fed[image, t].log_softmax(0)
            torch.testing.assert_close(logits[image, t].log_softmax(0), log_p)
            best = sorted(remaining) if remaining else [5]
            terms.append(-log_p[best].mean())
            remaining -= {token}
            if token == 5:
                break
    torch.testing.assert_close(value, 2 * torch.stack(terms).mean())
    value.backward()
    assert all(p.grad is not None for p in decoder.parameters())


def test_draws_are_reproducible_and_differ_between_calls():
    drawn = []
    for key in [(1, 0, 0), (1, 0, 0), (1, 1, 0)]:
        loss, decoder = OCDLoss(), NextTokenTable(5)
        loss.reseed(*key)
        drawn.append([run_loss(loss, decoder, SETS * 5, 6)[1].tokens.tolist() for _ in range(2)])
    assert drawn[0] == drawn[1]
    assert drawn[0] != drawn[2]
    assert drawn[0][0] != drawn[0][1]


def samples(sets):
    return [DataSample().set_gt_label(torch.tensor(x, dtype=torch.long)) for x in sets]


def head_of(**options):
    return MODELS.build(
        dict(
            type="OrderlessRNNHead",
            num_classes=5,
            in_channels=D,
            max_steps=6,
            decoder=SIZES,
            loss=dict(type="OCDLoss"),
            **options,
        )
    )


def test_a_head_learns_a_tiny_batch():
    head, feats = head_of(), (torch.randn(len(SETS), D, 2, 3),)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(300):
        loss = head.loss(feats, samples(SETS))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    predicted = head.eval().predict(feats)
    assert [set(s.pred_label.tolist()) for s in predicted] == [set(x) for x in SETS]


def test_errors():
    head, feats = head_of(), torch.randn(3, D, 2, 3)
    with pytest.raises(ValueError, match=r"label set of image 1 .* outside 0 … 4"):
        head.loss((feats,), samples([[0], [5], [1]]))
    feats[2] = float("nan")
    with pytest.raises(ValueError, match="logits of image 2 of the batch are not finite"):
        head.loss((feats,), samples([[0], [1, 2], []]))


def test_image_average_counts_an_image_as_much_as_another_whatever_its_number_of_steps():
    logits, tokens = torch.randn(3, 4, 6), torch.tensor([[0, 1, 2, 3], [5, 0, 0, 0], [2, 5, 0, 0]])
    policy = completion_targets(tokens, torch.rand(3, 5) < 0.5)
    alone = [policy_cross_entropy(logits[i : i + 1], policy[i : i + 1]) for i in range(3)]
    found = policy_cross_entropy(logits, policy, "image")
    torch.testing.assert_close(found, torch.stack(alone).mean())
    assert not torch.allclose(found, policy_cross_entropy(logits, policy))
