"""Build a config's model with the weights of a checkpoint."""

from mmengine.config import Config
from mmpretrain.registry import MODELS
from torch import nn


def build_model(cfg: Config) -> nn.Module:
    """Build a config's model as the Runner does."""
    model_cfg = dict(cfg.model)
    if model_cfg.get("data_preprocessor") is None:
        model_cfg["data_preprocessor"] = cfg.get("data_preprocessor")
    return MODELS.build(model_cfg)
