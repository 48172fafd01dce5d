import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmpretrain.registry import MODELS

from mmorderless.labels.vocabulary import IGNORE
from mmorderless.models.losses.aligned import STRATEGIES, FixedOrderLoss, MLALoss, PLALoss, loss_of
from mmorderless.models.losses.cross_entropy import sequence_cross_entropy

C = 6
CLASSES = ("f", "e", "d", "c", "b", "a")
LABELS = [torch.tensor([0, 3, 4]), torch.tensor([], dtype=torch.long), torch.tensor([5])]


def rows(logits, orders):
    """Mean cross-entropy of explicit sequences, END added, written out."""
    terms = []
    for image, order in enumerate(orders):
        for t, token in enumerate([*order, C]):
            terms.append(-logits[image, t].log_softmax(0)[token])
    return torch.stack(terms).mean()


def test_fixed_orders_equal_the_written_out_cross_entropy():
    logits = torch.randn(3, 4, C + 1)
    counts = [5, 1, 1, 9, 2, 7]
    expected = {
        "frequent_first": [[3, 0, 4], [], [5]],
        "rare_first": [[4, 0, 3], [], [5]],
        "dictionary": [[4, 3, 0], [], [5]],
    }
    for order, orders in expected.items():
        loss = FixedOrderLoss(order, CLASSES, counts)
        torch.testing.assert_close(loss(logits, LABELS), rows(logits, orders))


def test_one_label_reduces_every_strategy_to_the_same_cross_entropy():
    logits = torch.randn(2, 2, C + 1)
    labels = [torch.tensor([2]), torch.tensor([4])]
    expected = rows(logits, [[2], [4]])
    for name in STRATEGIES:
        loss = MODELS.build(loss_of(name))
        if isinstance(loss, FixedOrderLoss):
            loss.set_training_labels(CLASSES, range(C))
        torch.testing.assert_close(loss(logits, labels), expected)


def test_mla_is_never_above_pla_or_a_fixed_order():
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        logits = torch.randn(3, 4, C + 1, generator=generator)
        fixed = FixedOrderLoss("dictionary", CLASSES)(logits, LABELS)
        assert MLALoss()(logits, LABELS) <= PLALoss()(logits, LABELS) + 1e-6
        assert MLALoss()(logits, LABELS) <= fixed + 1e-6


@pytest.mark.parametrize("loss", [PLALoss(), MLALoss()], ids=["pla", "mla"])
def test_a_correct_prediction_in_any_order_costs_nothing(loss):
    logits = torch.zeros(1, 4, C + 1)
    for t, token in enumerate([4, 0, 3, C]):
        logits[0, t, token] = 50.0
    assert loss(logits, [torch.tensor([0, 3, 4])]) < 1e-6
    assert FixedOrderLoss("dictionary", CLASSES)(logits, [torch.tensor([0, 3, 4])]) > 10


@pytest.mark.parametrize("loss", [PLALoss(), MLALoss()], ids=["pla", "mla"])
def test_gradient_is_that_of_the_aligned_cross_entropy(loss):
    logits = torch.randn(3, 4, C + 1, dtype=torch.float64, requires_grad=True)
    loss(logits, LABELS).backward()
    tokens = loss.align(logits, LABELS)
    p = logits.detach().softmax(2)
    counted = tokens != IGNORE
    expected = (p - F.one_hot(tokens.clamp(min=0), C + 1)) * counted[:, :, None] / counted.sum()
    torch.testing.assert_close(logits.grad, expected, atol=1e-6, rtol=1e-5)  # float32 inside


def test_steps_that_do_not_count_get_no_gradient_even_when_not_finite():
    hot = torch.zeros(3, C)
    for image, wanted in enumerate(LABELS):
        hot[image, wanted] = 1
    for targets in (LABELS, hot):
        logits = torch.randn(3, 9, C + 1)
        logits[:, 4:] = float("nan")
        logits.requires_grad_()
        PLALoss()(logits, targets).backward()
        assert logits.grad.isfinite().all()
        assert logits.grad[:, 4:].abs().sum() == 0
        assert logits.grad[1, 1:].abs().sum() == 0


def test_multi_hot_and_index_targets_agree_and_loss_weight_scales():
    logits = torch.randn(3, 4, C + 1)
    hot = torch.zeros(3, C)
    for image, wanted in enumerate(LABELS):
        hot[image, wanted] = 1
    assert torch.equal(PLALoss()(logits, hot), PLALoss()(logits, LABELS))
    torch.testing.assert_close(
        PLALoss(loss_weight=0.5)(logits, LABELS), 0.5 * PLALoss()(logits, LABELS)
    )


def random_orders(loss, times=200):
    logits = torch.randn(1, 4, C + 1)
    return [
        tuple(loss.align(logits, [torch.tensor([0, 3, 4])])[0, :3].tolist()) for _ in range(times)
    ]


def test_random_order_is_drawn_each_time_and_depends_on_seed_rank_and_epoch():
    loss = FixedOrderLoss("random")
    drawn = {}
    for key in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]:
        loss.reseed(*key)
        drawn[key] = random_orders(loss)
    assert len(set(drawn[0, 0, 0])) == 6  # all orders of three labels occur
    assert len({tuple(orders) for orders in drawn.values()}) == 4
    loss.reseed(0, 0, 1)
    assert random_orders(loss) == drawn[0, 0, 1]


def test_random_order_without_the_hook_follows_pytorchs_seed():
    orders = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        orders.append(random_orders(FixedOrderLoss("random"), times=20))
    assert orders[0] == orders[1] != orders[2]


def test_random_order_is_uniform():
    loss = FixedOrderLoss("random")
    loss.reseed(0, 0, 0)
    orders = random_orders(loss, times=3000)
    for order in set(orders):
        assert orders.count(order) / 3000 == pytest.approx(1 / 6, abs=0.035)  # 5 sigma


def test_checkpoints_hold_the_order_of_the_training_set_but_not_that_of_the_config():
    trained = FixedOrderLoss("rare_first")
    trained.set_training_labels(CLASSES, [3, 1, 2, 5, 4, 9], num_images=9)
    restored = FixedOrderLoss("rare_first")
    assert restored.load_state_dict(trained.state_dict()).unexpected_keys == []
    logits = torch.randn(3, 4, C + 1)
    assert torch.equal(restored.align(logits, LABELS), trained.align(logits, LABELS))
    configured = FixedOrderLoss("dictionary", CLASSES)
    assert list(configured.state_dict()) == []
    before = configured.ranks.clone()
    configured.load_state_dict(trained.state_dict(), strict=False)
    assert torch.equal(configured.ranks, before)


def test_world_average_without_processes_is_the_local_one():
    logits = torch.randn(3, 4, C + 1)
    tokens = PLALoss().align(logits, LABELS)
    assert torch.equal(
        sequence_cross_entropy(logits, tokens, "world"), sequence_cross_entropy(logits, tokens)
    )


def test_image_average_counts_an_image_as_much_as_another_whatever_its_number_of_labels():
    logits, class_weight = torch.randn(3, 4, C + 1), torch.rand(C)
    for options in ({}, dict(class_weight=class_weight.tolist())):
        whole = PLALoss(average="image", **options)(logits, LABELS)
        alone = [PLALoss(**options)(logits[i : i + 1], [x]) for i, x in enumerate(LABELS)]
        torch.testing.assert_close(whole, torch.stack(alone).mean())
    assert len({len(x) for x in LABELS}) > 1
    assert not torch.allclose(PLALoss(average="image")(logits, LABELS), PLALoss()(logits, LABELS))


def _world_loss(rank, folder, class_weight):
    torch.set_num_threads(1)  # a forked child must not wake its parent's thread pool
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    logits, labels = torch.load(f"{folder}/batch.pt")
    share = slice(0, 1) if rank == 0 else slice(1, 3)  # unequal shares
    mine = logits[share].requires_grad_()
    loss = PLALoss(average="world", class_weight=class_weight)(mine, labels[share])
    loss.backward()
    torch.save((loss.detach(), mine.grad), f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("class_weight", [None, [0.5, 2.0, 0.0, 3.0, 1.5, 0.25]])
def test_world_average_makes_two_processes_equal_one(tmp_path, class_weight):
    logits = torch.randn(3, 4, C + 1)
    torch.save((logits, LABELS), tmp_path / "batch.pt")
    arguments = (str(tmp_path), class_weight)
    torch.multiprocessing.start_processes(_world_loss, arguments, 2, start_method="fork")
    (a, a_grad), (b, b_grad) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    whole = logits.clone().requires_grad_()
    loss = PLALoss(class_weight=class_weight)(whole, LABELS)
    loss.backward()
    torch.testing.assert_close((a + b) / 2, loss.detach())  # DDP averages over processes
    torch.testing.assert_close(torch.cat([a_grad, b_grad]) / 2, whole.grad)


def test_usable_from_any_module_with_logits():
    """A loss needs only logits: a linear layer per step learns a set."""
    model = torch.nn.Linear(8, 4 * (C + 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    x, labels = torch.randn(3, 8), LABELS
    for _ in range(40):
        loss = PLALoss()(model(x).view(3, 4, C + 1), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    predicted = model(x).view(3, 4, C + 1).argmax(2)
    for image, wanted in enumerate(labels):
        n = len(wanted)
        assert sorted(predicted[image, :n].tolist()) == wanted.tolist()
        assert predicted[image, n] == C


def test_errors():
    with pytest.raises(ValueError, match="unknown strategy 'plaa'; choose one of pla, mla, freq"):
        loss_of("plaa")
    with pytest.raises(ValueError, match="unknown label order 'rarest'"):
        FixedOrderLoss("rarest")
    with pytest.raises(
        ValueError, match="unknown average 'global'; choose one of local, world, image"
    ):
        PLALoss(average="global")
    with pytest.raises(ValueError, match=r"'rare_first' needs the training set: .*ContextHook"):
        FixedOrderLoss("rare_first")(torch.randn(3, 4, C + 1), LABELS)
