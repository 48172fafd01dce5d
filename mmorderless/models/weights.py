"""What a checkpoint must share with a model before its weights are used.

mmengine loads weights with `strict=False` and only warns about what does not fit: a run goes on
with random weights. The checks here turn that into one-line errors.
"""

import logging
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from torch import Tensor, nn

# The counter of a batch norm is a scalar under a name that every width of an architecture shares:
# it says nothing about whether the weights fit.
_COUNTER = "num_batches_tracked"


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors under the names that the bare model gives them.

    Args:
        checkpoint: what a checkpoint file holds: the tensors, alone or under `state_dict`.

    Returns:
        The tensors by name, without the `module.` that model wrappers put before each name.
    """
    if not isinstance(checkpoint, Mapping):
        raise ValueError(
            f"the checkpoint holds a {type(checkpoint).__name__}, not weights by name; use a file "
            "that tools/train.py wrote, or a state_dict"
        )
    state = checkpoint.get("state_dict", checkpoint)
    return {
        name.removeprefix("module."): tensor
        for name, tensor in state.items()
        if isinstance(tensor, Tensor)
    }


def check_some_weights_match(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Check that at least one weight fits the model by name and by shape.

    Args:
        model: the bare model (or a part of it).
        weights: tensors by name, see `weights_of`.

    Raises:
        ValueError: nothing fits.
    """
    wanted = _shapes(model.state_dict())
    given = _shapes(weights)
    if not wanted or any(given.get(name) == shape for name, shape in wanted.items()):
        return
    raise ValueError(
        f"no weight of the checkpoint fits the model by name and shape: it holds {len(given)} "
        f"tensors ({_examples(given)}), the model has {len(wanted)} ({_examples(wanted)}); use a "
        "checkpoint of this architecture, or set the prefix under which it holds this part"
    )


def load_all_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights into a model that is to be used as it is, without training.

    Tensors that the model has no place for are ignored; a weight of the model that the checkpoint
    lacks is an error, since it would stay random. The one exception is a part whose config names
    pretrained weights and of which the checkpoint holds nothing (a backbone that was replaced by
    cached features in training): it is initialised with those.

    Args:
        model: the bare model; changed in place.
        weights: tensors by name, see `weights_of`.

    Raises:
        ValueError: nothing fits, a weight is missing, or one has another shape.
    """
    check_some_weights_match(model, weights)
    pretrained = []
    for part_name, part in model.named_children():
        prefix = f"{part_name}."
        if pretrained_sources(part) and not any(name.startswith(prefix) for name in weights):
            initialise_quietly(part)
            pretrained.append(prefix)
    try:
        missing = model.load_state_dict(dict(weights), strict=False).missing_keys
    except RuntimeError as error:  # torch lists the sizes that differ, one a line.
        example = str(error).strip().splitlines()[-1].strip().rstrip(".")
        raise ValueError(
            f"the checkpoint's weights differ in size from the model's: {example}; "
            "use the config that it was trained with"
        ) from error
    missing = [
        name
        for name in missing
        if not name.endswith(_COUNTER) and not name.startswith(tuple(pretrained))
    ]
    if missing:
        raise ValueError(
            f"the checkpoint lacks {len(missing)} of the model's {len(_shapes(model.state_dict()))}"
            f" weights ({', '.join(missing[:2])}), which would stay random; "
            "use the config that it was trained with"
        )


def pretrained_sources(part: nn.Module) -> list[str]:
    """Return the pretrained weights that a module's config starts from, usually none or one.

    Args:
        part: a module; only mmengine's have such a config, `init_cfg`.
    """
    init_cfg = getattr(part, "init_cfg", None) or []
    init_cfgs = init_cfg if isinstance(init_cfg, list) else [init_cfg]
    return [cfg["checkpoint"] for cfg in init_cfgs if cfg["type"] == "Pretrained"]


def initialise_quietly(part: BaseModule) -> None:
    """Initialise a module of mmengine without a log line for each of its parameters.

    Args:
        part: the module; changed in place.
    """
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        part.init_weights()
    finally:
        logger.setLevel(level)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Return the shape of each weight, without counters and other scalars."""
    return {name: t.shape for name, t in tensors.items() if t.dim() > 0}


def _examples(shapes: Mapping[str, torch.Size]) -> str:
    shown = [f"{name} {tuple(shape)}" for name, shape in list(shapes.items())[:2]]
    return ", ".join(shown) or "none"
