"""Parameters and FLOPs of encoder and head for an image, by mmengine's counter.

A multiplication with its addition is one FLOP; element-wise operations are not counted. A sequence
head decodes all `max_steps` steps greedily; another head counts with its `forward`.
"""

from types import SimpleNamespace
from typing import Any

import torch
from mmengine.analysis import get_model_complexity_info
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from mmorderless.datasets.partition import nested_datasets
from mmorderless.engine.hooks.training_context_hook import TrainingContextHook
from mmorderless.models.heads import OrderlessRNNHead
from mmorderless.models.training_labels import NeedsTrainingLabels
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
    height, width = image_size(cfg)
    image = torch.zeros(1, 3, height, width, device=settings.device)
    feats = model.extract_feat(image)
    head, model.head = model.head, None
    model.forward = model.extract_feat
    if isinstance(head, NeedsTrainingLabels) and head.needs_training_labels:
        labels = SimpleNamespace(dataset=DATASETS.build(cfg.train_dataloader.dataset))
        TrainingContextHook().before_train(SimpleNamespace(model=head, train_dataloader=labels))
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
    """Return height and width after the test pipeline.

    Raises:
        ValueError: the pipeline does not say, as that of cached features.
    """
    dataset = nested_datasets(cfg.test_dataloader.dataset)[-1]
    for step in reversed(dataset.get("pipeline", [])):
        size = step.get("crop_size") or step.get("scale")
        if size:
            height, width = (size, size) if isinstance(size, int) else size
            return (height, width) if "crop_size" in step else (width, height)
    raise ValueError(
        f"the test pipeline of {cfg.filename} has neither a scale nor a crop_size that says how "
        "large images are; give --config a config with images"
    )
