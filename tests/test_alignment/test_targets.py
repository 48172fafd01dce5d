from functools import cache
from itertools import permutations
from math import factorial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mmorderless.alignment import assignment
from mmorderless.alignment.targets import (
    check_finite,
    min_loss_targets,
    ordered_targets,
    predicted_label_targets,
)
from mmorderless.labels.checks import check_labels
from mmorderless.labels.vocabulary import IGNORE

STRATEGIES = {"mla": min_loss_targets, "pla": predicted_label_targets}


@cache
def orders_of(n):
    """All orders of n labels, shape (n!, n)."""
    return np.array(list(permutations(range(n))), dtype=int).reshape(factorial(n), n)


def brute_force(logits, labels, strategy):
    """Return the minimum summed cross-entropy over all orders that the constraints allow, and a
    function that returns an order's cross-entropy and whether it is allowed.
    """
    n = len(labels)
    cost = -logits.double().log_softmax(1)[:n][:, labels].numpy().reshape(n, n)  # step, label
    predicted = logits[:n].argmax(1).tolist()
    first = {j: predicted.index(label) for j, label in enumerate(labels) if label in predicted}
    orders = orders_of(n)
    if strategy == "pla":
        for j, t in first.items():
            orders = orders[orders[:, t] == j]

    def cost_of(tokens):
        order = [labels.index(token) for token in tokens]
        allowed = strategy == "mla" or all(order[t] == j for j, t in first.items())
        return cost[range(n), order].sum(), allowed

    return cost[np.arange(n), orders].sum(1).min(), cost_of


def random_batch(generator, num_classes, batch=32, scale=2.0):
    """Logits with frequent correct and repeated predictions, and label sets of 0 … 7 labels."""
    most = min(7, num_classes)
    counts = torch.randint(0, most + 1, (batch,), generator=generator).tolist()
    labels = [torch.randperm(num_classes, generator=generator)[:n] for n in counts]
    steps = max(counts) + 1 + int(torch.randint(0, 4, (), generator=generator))
    logits = scale * torch.randn(batch, steps, num_classes + 1, generator=generator)
    return logits, labels


@pytest.mark.parametrize("strategy", ["mla", "pla"])
def test_equals_brute_force_on_random_cases(strategy):
    generator = torch.Generator().manual_seed(1)
    cases = 0
    for trial in range(64):
        # Few classes make correct and repeated predictions common.
        logits, labels = random_batch(generator, num_classes=[4, 7, 8, 20][trial % 4])
        tokens = STRATEGIES[strategy](logits, labels)
        assert tokens.shape == logits.shape[:2]
        for image, wanted in enumerate(labels):
            n, end = len(wanted), logits.shape[2] - 1
            got = tokens[image].tolist()
            assert sorted(got[:n]) == sorted(wanted.tolist())
            assert got[n] == end
            assert set(got[n + 1 :]) <= {IGNORE}
            best, cost_of = brute_force(logits[image], wanted.tolist(), strategy)
            cost, allowed = cost_of(got[:n])
            assert allowed
            assert cost == pytest.approx(best, abs=1e-4)
            cases += 1
    assert cases >= 2000


def test_paper_figure_4():
    """PLA keeps `chair`, predicted at the fourth step, where MLA moves it to the third."""
    person, bat, ball, chair = range(4)
    p = torch.full((1, 5, 5), 1e-4)
    p[0, 0, person] = p[0, 1, bat] = 0.9
    p[0, 2, 4], p[0, 2, chair], p[0, 2, ball] = 0.6, 0.3, 0.005
    p[0, 3, chair], p[0, 3, ball] = 0.5, 0.3
    labels = [torch.tensor([person, bat, ball, chair])]
    assert predicted_label_targets(p.log(), labels)[0].tolist() == [person, bat, ball, chair, 4]
    assert min_loss_targets(p.log(), labels)[0].tolist() == [person, bat, chair, ball, 4]


def test_only_the_first_n_steps_pin():
    """A match after step n_i − 1 does not count (Eq. 5; the released code uses all steps)."""
    logits = torch.zeros(1, 4, 6)
    logits[0, 0, 4] = logits[0, 1, 3] = 5.0  # neither is a label
    logits[0, 2, 0] = 50.0  # label 0, but at step 2 of a two-label image
    logits[0, 0, 0] = 2.0
    assert predicted_label_targets(logits, [torch.tensor([0, 1])])[0].tolist() == [0, 1, 5, IGNORE]


def test_end_is_never_moved_and_a_predicted_end_pins_nothing():
    logits = torch.zeros(1, 4, 5)
    logits[..., 4] = 10.0
    logits[0, 0, 2] = 3.0
    for align in STRATEGIES.values():
        assert align(logits, [torch.tensor([0, 2])])[0].tolist() == [2, 0, 4, IGNORE]


@pytest.mark.parametrize("strategy", ["mla", "pla"])
def test_edge_sizes(strategy):
    align = STRATEGIES[strategy]
    logits = torch.randn(3, 2, 4)
    tokens = align(
        logits, [torch.tensor([], dtype=torch.long), torch.tensor([2]), torch.tensor([0])]
    )
    assert tokens.tolist() == [[3, IGNORE], [2, 3], [0, 3]]
    empty = [torch.tensor([], dtype=torch.long)] * 2
    assert align(torch.randn(2, 1, 4), empty).tolist() == [[3], [3]]
    assert align(torch.randn(1, 2, 2), [torch.tensor([0])]).tolist() == [[0, 1]]  # one class


@pytest.mark.parametrize("strategy", ["mla", "pla"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_cost_is_minimal(strategy, dtype):
    generator = torch.Generator().manual_seed(2)
    for _ in range(8):
        logits, labels = random_batch(generator, num_classes=8, batch=8)
        logits = logits.to(dtype)  # bfloat16 rounds many costs to exact ties
        tokens = STRATEGIES[strategy](logits, labels)
        for image, wanted in enumerate(labels):
            best, cost_of = brute_force(logits[image], wanted.tolist(), strategy)
            cost, allowed = cost_of(tokens[image, : len(wanted)].tolist())
            assert allowed
            assert cost == pytest.approx(best, abs=1e-4)


@pytest.mark.parametrize("strategy", ["mla", "pla"])
@pytest.mark.parametrize("tied", [False, True])
def test_order_in_which_labels_are_given_does_not_matter(strategy, tied):
    generator = torch.Generator().manual_seed(3)
    logits, labels = random_batch(generator, num_classes=9)
    if tied:
        logits = logits.round()  # many exact ties
    shuffled = [wanted[torch.randperm(len(wanted), generator=generator)] for wanted in labels]
    align = STRATEGIES[strategy]
    assert torch.equal(align(logits, labels), align(logits, shuffled))


@pytest.mark.parametrize("strategy", ["mla", "pla"])
def test_multi_hot_batch_and_one_by_one_agree(strategy):
    logits, labels = random_batch(torch.Generator().manual_seed(4), num_classes=9)
    hot = torch.zeros(len(labels), 9)
    for image, wanted in enumerate(labels):
        hot[image, wanted] = 1
    align = STRATEGIES[strategy]
    together = align(logits, labels)
    assert torch.equal(align(logits, hot), together)
    singly = [align(logits[i : i + 1], labels[i : i + 1])[0] for i in range(len(labels))]
    assert torch.equal(torch.stack(singly), together)


def test_extra_steps_are_ignored_even_when_not_finite():
    logits = torch.randn(2, 6, 5)
    labels = [torch.tensor([1]), torch.tensor([0, 3])]
    for align in STRATEGIES.values():
        expected = align(logits, labels)
        broken = logits.clone()
        broken[:, 3:] = float("nan")
        assert torch.equal(align(broken, labels), expected)


def test_ordered_targets_follow_ranks():
    labels = check_labels([torch.tensor([0, 2, 4]), torch.tensor([3])], num_classes=5)
    ranks = np.array([4, 3, 0, 1, 2])
    assert ordered_targets(labels, ranks, num_steps=4).tolist() == [
        [2, 4, 0, 5],
        [3, 5, IGNORE, IGNORE],
    ]
    per_image = np.stack([ranks, ranks[::-1]]) / 5
    assert ordered_targets(labels, per_image, num_steps=4)[0].tolist() == [2, 4, 0, 5]


def in_class_order(logits, label_sets):
    num_classes = logits.shape[2] - 1
    labels = check_labels(label_sets, num_classes)
    return ordered_targets(labels, np.arange(num_classes), logits.shape[1])


ALL = {**STRATEGIES, "ordered": in_class_order}


@pytest.mark.parametrize("align", ALL.values(), ids=ALL.keys())
@pytest.mark.parametrize(
    "labels, message",
    [
        ([[0, 1, 2]], r"cannot place 3 labels in 3 decoding steps; raise max_steps to at least 4"),
        ([[5]], r"label set of image 0 .* outside 0 … 4"),
        ([[-1]], r"label set of image 0 .* outside 0 … 4"),
        ([[2, 2]], r"label set of image 0 .* names a class twice"),
    ],
)
def test_wrong_labels_are_one_line_errors(align, labels, message):
    with pytest.raises(ValueError, match=message) as error:
        align(torch.randn(1, 3, 6), [torch.tensor(wanted) for wanted in labels])
    assert "\n" not in str(error.value)


def check_only(logits, label_sets):
    check_finite(logits, max(len(labels) for labels in label_sets))


FINITE = {**STRATEGIES, "check_finite": check_only}


@pytest.mark.parametrize("align", FINITE.values(), ids=FINITE.keys())
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_name_the_image(align, value):
    logits = torch.randn(3, 4, 6)
    logits[1, 2, 3] = value
    labels = [torch.tensor([0, 1]), torch.tensor([2, 4]), torch.tensor([1])]
    with pytest.raises(ValueError, match=r"logits of image 1 .* not finite \(first at step 2\)"):
        align(logits, labels)


def test_an_order_of_other_classes_is_an_error():
    labels = check_labels([torch.tensor([0])], num_classes=5)
    for num_ranked in (1, 4, 6):
        with pytest.raises(ValueError, match=f"for {num_ranked} classes .* have 5 .*num_classes"):
            ordered_targets(labels, np.arange(num_ranked), num_steps=3)


@pytest.mark.parametrize("align", FINITE.values(), ids=FINITE.keys())
def test_a_step_that_another_image_of_the_batch_counts_must_be_finite(align):
    """Its gradient would be NaN, although the image itself ended before."""
    logits = torch.randn(2, 4, 6)
    logits[1, 2, 0] = float("nan")
    with pytest.raises(ValueError, match=r"logits of image 1 .* \(first at step 2\)"):
        align(logits, [torch.tensor([0, 1]), torch.tensor([], dtype=torch.long)])


def test_float64_logits_beyond_float32_are_not_finite():
    logits = torch.zeros(1, 2, 4, dtype=torch.float64)
    logits[0, 0, 1] = 1e300
    with pytest.raises(ValueError, match="not finite"):
        min_loss_targets(logits, [torch.tensor([0])])


@pytest.mark.parametrize("align", ALL.values(), ids=ALL.keys())
def test_wrong_multi_hot_targets(align):
    logits = torch.randn(1, 3, 6)
    with pytest.raises(ValueError, match="cannot place 4 labels in 3 decoding steps"):
        align(logits, torch.tensor([[1, 1, 1, 1, 0]]))
    # Soft labels of a mixture name more classes than fit: that is not what is wrong.
    for soft in ([0.3, 0.0, 0.7, 0.0, 0.0], [0.1, 0.2, 0.3, 0.2, 0.2]):
        with pytest.raises(ValueError, match=r"soft labels .* set model\.train_cfg=None"):
            align(logits, torch.tensor([soft]))
    with pytest.raises(ValueError, match="the batch is empty"):
        align(logits[:0], torch.zeros(0, 5))
    with pytest.raises(ValueError, match="1-D tensor of class indices, got list"):
        align(logits, [[0, 1]])
    with pytest.raises(ValueError, match=r"must be integers, got torch\.float32"):
        align(logits, [torch.tensor([0.0])])
    with pytest.raises(ValueError, match=r"must be integers, got torch\.bool"):
        align(logits, [torch.tensor([True, False])])
    with pytest.raises(ValueError, match=r"shape \(B, 5\)"):
        align(logits, torch.zeros(1, 6))


@pytest.mark.parametrize("align", STRATEGIES.values(), ids=STRATEGIES.keys())
def test_logits_of_another_shape_than_the_labels(align):
    with pytest.raises(ValueError, match="2 label sets for 1 images"):
        align(torch.randn(1, 3, 6), [torch.tensor([0])] * 2)
    with pytest.raises(ValueError, match=r"shape \(B, T, C \+ 1\), got \(3, 6\)"):
        align(torch.randn(3, 6), [torch.tensor([0])] * 3)


class Synchronizations(TorchDispatchMode):
    """Count the operations that make the CPU wait for a device."""

    names = ("aten._local_scalar_dense", "aten.nonzero", "aten.equal", "aten.item")

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if str(function).startswith(self.names):
            self.seen.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("align", STRATEGIES.values(), ids=STRATEGIES.keys())
@pytest.mark.parametrize("multi_hot", [False, True])
def test_nothing_but_the_copies_synchronizes(align, multi_hot):
    logits, labels = random_batch(torch.Generator().manual_seed(5), num_classes=12)
    if multi_hot:
        labels = torch.stack([F.one_hot(wanted, 12).sum(0) for wanted in labels])
    with Synchronizations() as mode:
        align(logits, labels)
    assert not mode.seen
    with Synchronizations() as mode:
        bool(logits.any())
    assert mode.seen  # the counter sees what it is for


def test_no_needless_solve(monkeypatch):
    solved = []
    solver = assignment.linear_sum_assignment
    monkeypatch.setattr(
        assignment, "linear_sum_assignment", lambda cost: solved.append(len(cost)) or solver(cost)
    )
    logits, labels = random_batch(torch.Generator().manual_seed(5), num_classes=12)
    min_loss_targets(logits, labels)
    assert solved == [len(wanted) for wanted in labels if len(wanted) > 1]


def test_labels_that_are_all_predicted_keep_their_steps():
    perfect = torch.zeros(2, 4, 6)
    for step, (a, b) in enumerate([(3, 0), (1, 4), (0, 5)]):
        perfect[0, step, a] = perfect[1, step, b] = 9.0
    tokens = predicted_label_targets(perfect, [torch.tensor([0, 1, 3]), torch.tensor([0, 4])])
    assert tokens.tolist() == [[3, 1, 0, 5], [0, 4, 5, IGNORE]]


@pytest.mark.parametrize("align", ALL.values(), ids=ALL.keys())
def test_types_of_logits_and_labels_do_not_matter(align):
    generator = torch.Generator().manual_seed(8)
    for trial in range(40):
        logits, labels = random_batch(generator, num_classes=[1, 5, 8, 30][trial % 4], batch=6)
        logits = logits.bfloat16()
        hot = torch.zeros(len(labels), logits.shape[2] - 1, dtype=torch.bfloat16)
        for image, wanted in enumerate(labels):
            hot[image, wanted] = 1
        expected = align(logits.double(), labels)
        assert torch.equal(align(logits, hot), expected)
        assert torch.equal(align(logits, [wanted.flip(0).int() for wanted in labels]), expected)


@pytest.mark.parametrize("align", STRATEGIES.values(), ids=STRATEGIES.keys())
@pytest.mark.parametrize("lowest", [-1e18, torch.finfo(torch.float32).min])
def test_a_huge_logit_of_one_image_leaves_the_others_alone(align, lowest):
    generator = torch.Generator().manual_seed(9)
    logits = torch.randn(8, 6, 9, generator=generator)
    labels = [torch.arange(n) for n in (2, 2, 3, 4, 5, 2, 3, 4)]
    logits[0, 0, 0] = lowest
    together = align(logits, labels)
    for i in range(1, 8):
        assert torch.equal(align(logits[i : i + 1], labels[i : i + 1])[0], together[i])


def test_alignment_is_not_differentiated_and_does_not_touch_its_input():
    logits = torch.randn(2, 4, 6, requires_grad=True)
    before = logits.detach().clone()
    tokens = predicted_label_targets(logits, [torch.tensor([0, 2]), torch.tensor([1, 4, 3])])
    assert not tokens.requires_grad
    assert torch.equal(logits.detach(), before)
    assert tokens.dtype == torch.int64
    assert np.isin(tokens.numpy(), [IGNORE, 0, 1, 2, 3, 4, 5]).all()
