import pytest
import torch
from mmpretrain.registry import MODELS

from mmorderless.models.heads.features import as_grid


def test_a_map_becomes_cells_in_row_order():
    feats = torch.randn(2, 5, 3, 4)
    grid, layout = as_grid((torch.zeros(2, 9, 6, 8), feats), in_channels=5)  # the last stage counts
    assert layout == (3, 4)
    assert torch.equal(grid.unflatten(1, layout)[1, 2, 3], feats[1, :, 2, 3])


def test_tokens_with_and_without_class_token():
    tokens = torch.randn(2, 10, 5)
    assert torch.equal(as_grid(tokens, 5)[0], tokens)
    grid, layout = as_grid([tokens], 5, drop_class_token=True)
    assert torch.equal(grid, tokens[:, 1:])
    assert layout == (9,)


@pytest.mark.parametrize(
    "backbone, channels, options, layout",
    [
        (dict(type="ResNet", depth=18), 512, {}, (2, 2)),
        (
            dict(type="SwinTransformer", arch="tiny", img_size=64, pad_small_map=True),
            768,
            {},
            (2, 2),
        ),
        (dict(type="VisionTransformer", arch="deit-t", img_size=64), None, {}, None),
        (
            dict(type="VisionTransformer", arch="deit-t", img_size=64, out_type="featmap"),
            192,
            {},
            (4, 4),
        ),
        (
            dict(type="VisionTransformer", arch="deit-t", img_size=64, out_type="raw"),
            192,
            dict(drop_class_token=True),
            (16,),
        ),
        (dict(type="ConvNeXt", arch="atto"), None, {}, None),
        (dict(type="ConvNeXt", arch="atto", gap_before_final_norm=False), 320, {}, (2, 2)),
        (dict(type="VGG", depth=11, num_classes=-1), 512, {}, (2, 2)),
    ],
    ids=lambda value: value.get("type") if isinstance(value, dict) and "type" in value else None,
)
def test_real_backbones(backbone, channels, options, layout):
    """Features of mmpretrain's backbones are accepted, or refused with a remedy that works."""
    model = MODELS.build(backbone)
    model.eval()
    with torch.no_grad():
        feats = model(torch.randn(1, 3, 64, 64))
    if channels is None:
        with pytest.raises(ValueError, match=r"needs a map .* got \(1, \d+\); keep the backbone's"):
            as_grid(feats, 1)
    else:
        grid, got = as_grid(feats, channels, **options)
        assert got == layout
        assert grid.shape[2] == channels


def test_errors_give_the_remedy():
    with pytest.raises(ValueError, match=r"gives 5 channels .* set in_channels=5"):
        as_grid(torch.randn(1, 5, 2, 2), 7)
    with pytest.raises(ValueError, match="drop_class_token=True needs tokens"):
        as_grid(torch.randn(1, 5, 2, 2), 5, drop_class_token=True)
    with pytest.raises(ValueError, match="have no cell"):
        as_grid(torch.randn(1, 1, 5), 5, drop_class_token=True)
    with pytest.raises(ValueError, match=r"got \(2, 5\); keep the backbone's map: neck=None"):
        as_grid(torch.randn(2, 5), 5)
