"""Models of the repository's configs with random weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from mmorderless.runs.config import read_config

from .settings import Settings

CONFIGS = Path(__file__).parents[2] / "configs"


def config_of(settings: Settings, options: Mapping[str, Any] | None = None) -> tuple[Config, int]:
    """Return the config of the models to measure, and the side of its images in pixels.

    Args:
        settings: decide which config.
        options: values of the config by dotted key, as in `--cfg-options`.

    Raises:
        FileNotFoundError: the repository's configs are missing.
    """
    name, side = ("digits/pla_digits", 48) if settings.quick else ("pla_resnet101_coco", 288)
    cfg = read_config(str(CONFIGS / f"{name}.py"), options)
    cfg.model.backbone.init_cfg = None
    return cfg, side


def build_model(cfg: Config, settings: Settings) -> Any:
    """Build a config's model on the device of the settings."""
    init_default_scope(cfg.default_scope)
    model = MODELS.build({**cfg.model, "data_preprocessor": cfg.data_preprocessor})
    return model.to(settings.device)
