"""A neck that carries the early stages of a backbone to its end."""

import pytest
import torch

from mmorderless.models.necks import StageFusionNeck

CHANNELS, SIZES = (4, 8, 16), ((9, 12), (5, 6), (3, 3))


def make(**options):
    torch.manual_seed(0)
    return StageFusionNeck(**dict(in_channels=CHANNELS) | options)


def stages():
    generator = torch.Generator().manual_seed(0)
    maps = (torch.randn(2, c, *size, generator=generator) for c, size in zip(CHANNELS, SIZES))
    return tuple(feature_map.requires_grad_() for feature_map in maps)


def test_every_stage_reaches_the_pooled_features():
    maps = stages()
    (features,) = make()(maps)
    assert features.shape == (2, 16)
    weights = torch.randn(2, 16)  # the sum over a batch is constant after batch norm
    for gradient in torch.autograd.grad((features * weights).sum(), maps):
        assert gradient.abs().sum() > 0


def test_without_a_contribution_of_the_branch_it_is_the_mean_of_the_last_map():
    neck = make()
    for fuse in neck.fusions:
        torch.nn.init.zeros_(fuse[-1].weight)
    maps = stages()
    torch.testing.assert_close(neck(maps)[0], maps[-1].mean((2, 3)))


def test_one_stage_is_average_pooling():
    maps = stages()[-1:]
    torch.testing.assert_close(make(in_channels=(16,))(maps)[0], maps[0].mean((2, 3)))


def test_a_backbone_with_another_number_of_maps_is_an_error():
    with pytest.raises(ValueError, match=r"gives 1 maps, StageFusionNeck expects 3; .*out_indices"):
        make()(stages()[-1:])
    with pytest.raises(ValueError, match=r"in_channels must be a list of positive .* got \(4, 0\)"):
        make(in_channels=(4, 0))


def test_maps_of_another_shape_are_an_error():
    first, *later = stages()
    with pytest.raises(ValueError, match=r"stage -3 .* map of 3 channels, .* built for 4; set"):
        make()((first[:, :3], *later))
    with pytest.raises(ValueError, match=r"of \(9, 12\) .* \(9, 6\), .* needs \(5, 6\); take"):
        make()((first, torch.randn(2, 8, 9, 6), later[1]))
    with pytest.raises(ValueError, match=r"needs a map .* got \(2, 16\); keep the backbone's map"):
        make()((*stages()[:2], torch.randn(2, 16)))
