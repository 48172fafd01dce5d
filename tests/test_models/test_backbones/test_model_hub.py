"""Model names of mmpretrain become the addresses of their weights; nothing is downloaded."""

from pathlib import PurePosixPath

import pytest
import torch
from mmengine.runner import CheckpointLoader
from mmpretrain.registry import MODELS

from mmorderless.models.backbones.model_hub import weights_address
from mmorderless.runs.checkpoint_files import existing_checkpoint

CONVNEXT = "convnext-tiny_32xb128_in1k"


@pytest.fixture
def asked(monkeypatch):
    """Addresses that would be downloaded, replaced by a checkpoint of a narrow model."""
    addresses = []

    def load(filename, map_location=None):
        addresses.append((filename, map_location))
        return {"state_dict": {"backbone.layers.0.weight": torch.ones(1), "head.fc.bias": None}}

    monkeypatch.setitem(CheckpointLoader._schemes, "https://", load)
    return addresses


def test_a_name_becomes_the_address_of_its_weights():
    """In the model index of the installed mmpretrain, in both package families."""
    address = weights_address(CONVNEXT)
    assert address.startswith("https://")
    assert PurePosixPath(address).name.startswith(CONVNEXT)
    assert address.endswith(".pth")
    assert weights_address(CONVNEXT.upper()) == address


def test_the_scheme_asks_mmengines_loader_for_that_address(asked):
    checkpoint = CheckpointLoader.load_checkpoint(f"mmpretrain://{CONVNEXT}", map_location="cpu")
    assert asked == [(weights_address(CONVNEXT), "cpu")]
    assert torch.equal(checkpoint["state_dict"]["backbone.layers.0.weight"], torch.ones(1))
    assert existing_checkpoint(f"mmpretrain://{CONVNEXT}") == f"mmpretrain://{CONVNEXT}"


def test_backbone_loads_weights_by_model_name(monkeypatch):
    """With `init_cfg`, as in the configs."""
    config = dict(type="StridedCNN", channels=(4, 8))
    source = MODELS.build(config)
    state = {f"backbone.{name}": torch.full_like(t, 7) for name, t in source.state_dict().items()}
    monkeypatch.setitem(
        CheckpointLoader._schemes, "https://", lambda *_, **__: {"state_dict": state}
    )
    init_cfg = dict(type="Pretrained", checkpoint=f"mmpretrain://{CONVNEXT}", prefix="backbone")
    backbone = MODELS.build({**config, "init_cfg": init_cfg})
    backbone.init_weights()
    assert all(torch.all(weight == 7) for weight in backbone.state_dict().values())


def test_unknown_name_error_suggests_close_names(asked):
    with pytest.raises(
        ValueError, match=rf"has no model 'convnext-tiny_in1k'; did you mean .*{CONVNEXT}"
    ) as raised:
        CheckpointLoader.load_checkpoint("mmpretrain://convnext-tiny_in1k")
    assert "\n" not in str(raised.value)
    with pytest.raises(ValueError, match=r"has no model '§'; mmpretrain\.list_models"):
        weights_address("§")
    assert not asked


def test_a_model_without_weights_is_an_error():
    with pytest.raises(ValueError, match=r"has no weights of the model .*; name another model"):
        weights_address("vit-base-p16_mae-300e-pre_8xb128-coslr-100e_in1k")
