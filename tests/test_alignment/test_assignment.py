from itertools import permutations

import pytest
import torch

from mmorderless.alignment.assignment import align_min_loss, align_predicted


def test_min_loss_equals_brute_force_on_a_cost_matrix():
    cost = torch.rand(3, 3)
    best = min(
        permutations(range(3)), key=lambda order: sum(cost[t, j] for t, j in enumerate(order))
    )
    assert align_min_loss(cost[None], torch.tensor([3]))[0].tolist() == list(best)


def test_cost_functions_mark_steps_beyond_the_labels():
    cost = torch.rand(3, 4, 4)
    result = align_min_loss(cost, torch.tensor([0, 1, 3]))
    assert result[0].tolist() == [-1] * 4
    assert result[1].tolist() == [0, -1, -1, -1]
    assert sorted(result[2, :3].tolist()) == [0, 1, 2]
    assert result[2, 3] == -1


def test_align_predicted_pins_the_first_occurrence_and_solves_the_rest():
    cost = torch.zeros(1, 3, 3)
    cost[0, 1, 0] = cost[0, 2, 2] = 9.0  # expensive: label 0 at step 1, label 2 at step 2
    result = align_predicted(cost, torch.tensor([3]), torch.tensor([[1, 1, -1]]))
    assert result.tolist() == [[1, 2, 0]]


def test_align_predicted_equals_brute_force():
    generator = torch.Generator().manual_seed(6)
    n = 5
    for _ in range(50):
        cost = torch.randn(1, n, n, generator=generator)
        predicted = torch.randint(-1, n, (1, n), generator=generator)
        result = align_predicted(cost, torch.tensor([n]), predicted)[0].tolist()
        wanted = predicted[0].tolist()
        first = {j: wanted.index(j) for j in wanted if j >= 0}
        assert all(result[t] == j for j, t in first.items())
        orders = [o for o in permutations(range(n)) if all(o[t] == j for j, t in first.items())]
        best = min(cost[0, range(n), o].sum() for o in orders)
        torch.testing.assert_close(cost[0, range(n), result].sum(), best)


def test_cost_functions_reject_bad_input():
    with pytest.raises(ValueError, match="image 1 of the batch is not finite"):
        align_min_loss(torch.tensor([[[1.0]], [[float("nan")]]]), torch.tensor([1, 1]))
    with pytest.raises(ValueError, match=r"integers, got torch\.float32"):
        align_min_loss(torch.zeros(1, 2, 2), torch.tensor([1.5]))
    with pytest.raises(ValueError, match="num_labels must be 0 … 2, got -1"):
        align_min_loss(torch.zeros(1, 2, 2), torch.tensor([-1]))
    with pytest.raises(ValueError, match=r"num_labels must be 0 … 2, got .* 3"):
        align_min_loss(torch.zeros(1, 2, 2), torch.tensor([3]))
    with pytest.raises(ValueError, match=r"num_labels must be 0 … 2, got .* 3"):
        align_predicted(torch.zeros(1, 2, 2), torch.tensor([3]), torch.tensor([[0, 1]]))
    with pytest.raises(ValueError, match=r"predicted_position must have shape \(1, 2\)"):
        align_predicted(torch.zeros(1, 2, 2), torch.tensor([2]), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"shape \(B, N, N\)"):
        align_min_loss(torch.zeros(1, 2, 3), torch.tensor([2]))
    with pytest.raises(ValueError, match="the batch is empty"):
        align_min_loss(torch.zeros(0, 2, 2), torch.zeros(0, dtype=torch.long))
    beyond = align_predicted(torch.zeros(2, 1, 1), torch.tensor([1, 1]), torch.tensor([[3], [0]]))
    assert beyond.tolist() == [[0], [0]]
    # What lies outside an image's block is ignored.
    cost = torch.zeros(1, 2, 2)
    cost[0, 1] = float("inf")
    assert align_min_loss(cost, torch.tensor([1])).tolist() == [[0, -1]]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_a_batch_equals_its_images_one_by_one(dtype):
    generator = torch.Generator().manual_seed(7)
    cost = torch.randn(40, 6, 6, generator=generator).to(dtype)
    num_labels = torch.randint(0, 7, (40,), generator=generator)
    predicted = torch.randint(-1, 6, (40, 6), generator=generator)
    outside = torch.arange(6) >= num_labels[:, None]
    cost[outside] = float("nan")
    min_loss = align_min_loss(cost, num_labels)
    pinned = align_predicted(cost, num_labels, predicted)
    for i, n in enumerate(num_labels.tolist()):
        block = cost[i : i + 1, :n, :n]
        sizes = num_labels[i : i + 1]
        expected = align_min_loss(block, sizes)[0].tolist()
        assert min_loss[i].tolist() == expected + [-1] * (6 - n)
        expected = align_predicted(block, sizes, predicted[i : i + 1, :n])[0].tolist()
        assert pinned[i].tolist() == expected + [-1] * (6 - n)
