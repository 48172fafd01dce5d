import pytest
import torch

from mmorderless.models.decoders.base import drop_entries


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_keeps_each_entry_with_its_probability_and_scales_it(probability, dtype):
    torch.manual_seed(0)
    grid = torch.ones(10, 100, 100, dtype=dtype)
    dropped = drop_entries(grid, probability, training=True)
    assert dropped.dtype == dtype
    kept = dropped != 0
    assert torch.all(dropped[kept] == torch.tensor(1 / (1 - probability), dtype=dtype))
    assert kept.float().mean().item() == pytest.approx(1 - probability, abs=0.005)  # 5 sigma


def test_nothing_is_dropped_in_evaluation():
    grid = torch.randn(2, 3, 4)
    assert torch.equal(drop_entries(grid, 0.5, training=False), grid)
    assert torch.equal(drop_entries(grid, 0.0, training=True), grid)


@pytest.mark.parametrize("probability", [-0.1, 1.0, 1.5])
def test_the_probability_is_checked(probability):
    with pytest.raises(ValueError, match=f"below 1, got {probability}"):
        drop_entries(torch.randn(2, 3, 4), probability, training=True)
