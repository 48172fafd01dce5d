"""Weights that do not fit a model are an error, never a silent random initialization."""

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from mmorderless.models.weights import check_some_weights_match, load_all_weights, weights_of


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


def test_wrapper_prefix_and_state_dict_level_do_not_matter():
    model = network(4)
    state = model.state_dict()
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    for checkpoint in (state, wrapped, {"state_dict": state}, {"state_dict": wrapped, "meta": {}}):
        assert weights_of(checkpoint).keys() == state.keys()


def test_no_match_by_name_is_an_error():
    weights = {f"other.{k}": v for k, v in network(4).state_dict().items()}
    with pytest.raises(ValueError, match=r"no weight .* holds 6 tensors \(other\.0\.weight .* 0\."):
        check_some_weights_match(network(4), weights)


def test_no_match_by_shape_is_an_error_although_counters_match():
    weights = network(8).state_dict()
    assert weights["1.num_batches_tracked"].shape == ()
    with pytest.raises(ValueError, match="by name and shape") as raised:
        check_some_weights_match(network(4), weights)
    assert "\n" not in str(raised.value)


def test_scalar_alone_is_not_a_match():
    model = nn.Linear(2, 3)
    model.register_buffer("batches_seen", torch.tensor(0))
    with pytest.raises(ValueError, match="no weight of the checkpoint fits"):
        check_some_weights_match(model, {"batches_seen": torch.tensor(5)})


def test_one_matching_weight_is_enough_to_start_from():
    check_some_weights_match(network(4), {"1.bias": torch.zeros(4)})


def test_a_model_without_weights_accepts_anything():
    check_some_weights_match(nn.Identity(), {"a": torch.zeros(1)})


def test_all_weights_are_loaded_and_extra_ones_ignored():
    model, other = network(4), network(4)
    load_all_weights(model, {**other.state_dict(), "extra": torch.zeros(1)})
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters()))


def test_a_missing_weight_is_an_error_but_a_counter_is_not():
    weights = dict(network(4).state_dict())
    del weights["1.num_batches_tracked"]
    load_all_weights(network(4), weights)
    del weights["0.weight"]
    with pytest.raises(ValueError, match=r"lacks 1 of the model's 6 weights \(0\.weight\)"):
        load_all_weights(network(4), weights)


def test_another_size_is_a_one_line_error():
    weights = {**network(4).state_dict(), "0.weight": torch.zeros(8, 3, 3, 3)}
    with pytest.raises(ValueError, match=r"size mismatch for 0\.weight") as raised:
        load_all_weights(network(4), weights)
    assert "\n" not in str(raised.value)


class Encoder(BaseModule):
    def __init__(self, init_cfg=None):
        super().__init__(init_cfg)
        self.linear = nn.Linear(2, 2)


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_checkpoint_without_the_pretrained_part(tmp_path, pretrained):
    file = tmp_path / "encoder.pth"
    source = Encoder()
    torch.save(source.state_dict(), file)
    init_cfg = dict(type="Pretrained", checkpoint=str(file)) if pretrained else None
    model = nn.ModuleDict({"backbone": Encoder(init_cfg), "head": nn.Linear(2, 1)})
    weights = {"head.weight": torch.ones(1, 2), "head.bias": torch.ones(1)}
    if pretrained:
        load_all_weights(model, weights)
        assert torch.equal(model["backbone"].linear.weight, source.linear.weight)
        assert model["head"].bias.item() == 1
    else:
        with pytest.raises(ValueError, match="lacks 2 of the model's 4 weights"):
            load_all_weights(model, weights)
