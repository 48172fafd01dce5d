import pytest
import torch

from mmorderless.models.decoders.dropout import check_drop, drop_entries


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


def test_channels_are_dropped_from_all_cells_of_an_image():
    torch.manual_seed(0)
    dropped = drop_entries(torch.ones(50, 6, 40), 0.25, training=True, drop="channels")
    assert torch.equal(dropped, dropped[:, :1].expand_as(dropped))
    assert (dropped[:, 0] != 0).float().mean().item() == pytest.approx(0.75, abs=0.05)  # 5 sigma
    assert (dropped[0, 0] != dropped[1, 0]).any()


def test_what_is_dropped_is_checked():
    assert [check_drop(drop) for drop in ("cells", "channels")] == ["cells", "channels"]
    with pytest.raises(ValueError, match="unknown drop='maps'; choose one of cells, channels"):
        check_drop("maps")


@pytest.mark.parametrize("probability", [-0.1, 1.0, 1.5])
def test_the_probability_is_checked(probability):
    with pytest.raises(ValueError, match=f"below 1, got {probability}"):
        drop_entries(torch.randn(2, 3, 4), probability, training=True)
