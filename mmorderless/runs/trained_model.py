"""Build a config's model and load a checkpoint's weights into it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import init_default_scope
from mmengine.runner import CheckpointLoader
from mmpretrain.registry import MODELS
from torch import nn

from mmorderless.errors import error_line
from mmorderless.models.weights import load_all_weights, weights_of


def build_model(cfg: Config) -> nn.Module:
    """Build a config's model as the Runner does, with random weights."""
    init_default_scope(cfg.get("default_scope", "mmpretrain"))
    model_cfg = dict(cfg.model)
    if model_cfg.get("data_preprocessor") is None:
        model_cfg["data_preprocessor"] = cfg.get("data_preprocessor")
    return MODELS.build(model_cfg)


def load_weights(model: nn.Module, checkpoint: str | Path) -> dict[str, Any]:
    """Load a checkpoint's weights into a model and return all that the checkpoint holds.

    Raises:
        FileNotFoundError: the checkpoint is missing.
        ValueError: the checkpoint is damaged, or a weight is missing or has another shape.
    """
    saved = CheckpointLoader.load_checkpoint(str(checkpoint), map_location="cpu")
    load_all_weights(model, weights_of(saved))
    return saved


def prepare_for_inference(model: nn.Module, device: str | torch.device | None = None) -> None:
    """Move a model to a device and put it into evaluation mode.

    Raises:
        ValueError: there is no such device.
    """
    try:
        model.to(device or get_device())
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"cannot use the device {device}: {error_line(error)}") from error
    model.eval()


def load_trained_model(
    cfg: Config, checkpoint: str | Path, device: str | torch.device | None = None
) -> tuple[nn.Module, dict[str, Any]]:
    """Build a config's model with a checkpoint's weights, ready for inference.

    Returns:
        The model in evaluation mode, and all that the checkpoint holds.

    Raises:
        FileNotFoundError: the checkpoint is missing.
        ValueError: the checkpoint is damaged or does not fit the model, or there is no such device.
    """
    model = build_model(cfg)
    saved = load_weights(model, checkpoint)
    prepare_for_inference(model, device)
    return model, saved


@contextmanager
def temporary_attributes(owner: Any, attributes: Mapping[str, Any]) -> Iterator[None]:
    """Set attributes of an object within a block, and restore them afterwards."""
    before = {name: getattr(owner, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(owner, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
