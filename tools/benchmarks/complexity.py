"""Parameters and FLOPs of encoder and head for an image, by mmengine's counter.

A multiplication with its addition is one FLOP; element-wise operations are not counted. A sequence
head decodes all `max_steps` steps greedily; another head counts with its `forward`.
"""

from typing import Any

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config

from mmorderless.datasets.partition import nested_datasets
from mmorderless.models.heads import OrderlessRNNHead
from mmorderless.runs.config import read_config

from .models import build_model, config_of
from .report import Row
from .settings import Settings


@torch.no_grad()
def run(settings: Settings) -> list[Row]:
    """Count encoder and head of the config of the settings."""
    if settings.config is None:
        cfg, _ = config_of(settings)
    else:
        cfg = read_config(settings.config, settings.cfg_options)
    model = build_model(cfg, settings).eval()
    width, height = image_size(cfg)
    image = torch.zeros(1, 3, height, width, device=settings.device)
    feats = model.extract_feat(image)
    head, model.head = model.head, None
    model.forward = model.extract_feat
    rows = count("encoder", model, image, {"image": f"{width}×{height}"})
    shape = {}
    if isinstance(head, OrderlessRNNHead):
        shape = {"T": head.max_steps}

        def decode(feats: Any) -> torch.Tensor:
            grid = head.decoder.encode(head.pre_logits(feats))
            return head.decoder.rollout(grid, head.max_steps).logits

        head.forward = decode
    return rows + count("head", head, feats, shape)


def count(name: str, module: torch.nn.Module, inputs: Any, setting: dict[str, Any]) -> list[Row]:
    """Return the rows of a module."""
    found = get_model_complexity_info(module, inputs=(inputs,), show_table=False, show_arch=False)
    return [
        Row(f"{name}: parameters", setting, "million", [found["params"] / 1e6]),
        Row(f"{name}: FLOPs", setting, "million/image", [found["flops"] / 1e6]),
    ]


def image_size(cfg: Config) -> tuple[int, int]:
    """Return width and height after the test pipeline.

    Raises:
        ValueError: the pipeline does not say, as that of cached features.
    """
    dataset = nested_datasets(cfg.test_dataloader.dataset)[-1]
    scales = [step.scale for step in dataset.get("pipeline", []) if "scale" in step]
    if not scales:
        raise ValueError(
            f"the test pipeline of {cfg.filename} has no Resize(scale=...) that says how large "
            "images are; give --config a config with one"
        )
    return scales[-1]
