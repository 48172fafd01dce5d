"""Check that a checkpoint's weights fit a model, and load them.

mmengine loads weights with `strict=False` and only warns about those that do not fit: a run
continues with random weights. These functions raise one-line errors instead.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.logging import MMLogger
from mmengine.model import BaseModule
from torch import Tensor, nn

# The counter of a batch norm is a scalar with the same name in every width of an architecture, so
# it does not tell whether the weights fit.
_COUNTER = "num_batches_tracked"


def weights_of(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return a checkpoint's tensors by name, without the prefix `module.` of model wrappers."""
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


def trained_classes(checkpoint: Mapping[str, Any]) -> Sequence[str] | None:
    """Return the class names that a checkpoint was trained with, None when it names none."""
    inner: Any = checkpoint
    for key in ("meta", "dataset_meta", "classes"):
        inner = inner.get(key) if isinstance(inner, Mapping) else None
    return inner if isinstance(inner, list | tuple) else None


def check_some_weights_match(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raise a ValueError when no weight fits the bare model, or a submodule, by name and shape."""
    expected = _shapes(model.state_dict())
    given = _shapes(weights)
    if not expected or any(given.get(name) == shape for name, shape in expected.items()):
        return
    raise ValueError(
        f"no weight of the checkpoint fits the model by name and shape: it holds {len(given)} "
        f"tensors ({_examples(given)}), the model has {len(expected)} ({_examples(expected)}); use "
        "a checkpoint of this architecture, or set the prefix of these weights"
    )


def load_all_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load weights into a model that is used without further training.

    Tensors that the model does not have are ignored; a weight that the checkpoint lacks is an
    error, since it would stay random. The one exception is a submodule whose config names
    pretrained weights and of which the checkpoint holds no weight (a backbone replaced by cached
    features in training): it is initialized with those.

    Raises:
        ValueError: no weight fits, a weight is missing, or one has another shape.
    """
    check_some_weights_match(model, weights)
    pretrained = []
    for child_name, child in model.named_children():
        prefix = f"{child_name}."
        if pretrained_sources(child) and not any(name.startswith(prefix) for name in weights):
            initialize_quietly(child)
            pretrained.append(prefix)
    try:
        missing = model.load_state_dict(dict(weights), strict=False).missing_keys
    except RuntimeError as error:  # PyTorch lists the sizes that differ, one per line
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


def check_same_shapes(saved: Any, expected: Mapping[str, Any], what: str) -> None:
    """Check that the tensors of a checkpoint have the names and shapes of the model's.

    Raises:
        ValueError: one is missing, unknown or has another shape.
    """
    given = saved if isinstance(saved, Mapping) else {}
    for name in {**expected, **given}:
        before, now = (getattr(t.get(name), "shape", None) for t in (given, expected))
        if before != now:
            shapes = [str(shape and tuple(shape)) for shape in (before, now)]
            raise ValueError(
                f"the checkpoint's {what} do not fit the model: the shape of {name} is {shapes[0]} "
                f"instead of {shapes[1]}; use the config that it was trained with, or start from "
                "its weights with load_from"
            )


def pretrained_sources(module: nn.Module) -> list[str]:
    """Return the pretrained checkpoints that a module's `init_cfg` names, usually none or one."""
    init_cfg = getattr(module, "init_cfg", None) or []
    init_cfgs = init_cfg if isinstance(init_cfg, list) else [init_cfg]
    return [cfg["checkpoint"] for cfg in init_cfgs if cfg["type"] == "Pretrained"]


def initialize_quietly(module: BaseModule) -> None:
    """Initialize a module of mmengine without a log line for each of its parameters."""
    with only_warnings():
        module.init_weights()


@contextmanager
def only_warnings() -> Iterator[None]:
    """Silence messages of mmengine's log below a warning within a block."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    """Return the shape of each weight, without counters and other scalars."""
    return {name: t.shape for name, t in tensors.items() if t.dim() > 0}


def _examples(shapes: Mapping[str, torch.Size]) -> str:
    shown = [f"{name} {tuple(shape)}" for name, shape in list(shapes.items())[:2]]
    return ", ".join(shown) or "none"
