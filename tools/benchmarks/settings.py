"""Settings that the command line gives to every part."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Settings:
    """Settings of a measurement.

    Args:
        device: device of models and logits.
        dtype: name of the type that models compute in, a key of `DTYPES`; weights stay fp32.
        repeats: samples of each quantity.
        batch: images of a batch; None keeps each part's own number.
        quick: tiny sizes, which only show that the parts run.
        config: config file of the part `complexity`; None takes the one of the other parts.
        cfg_options: values of this config by dotted key.
    """

    device: torch.device
    dtype: str = "fp32"
    repeats: int = 7
    batch: int | None = None
    quick: bool = False
    config: str | None = None
    cfg_options: Mapping[str, Any] | None = None

    def autocast(self) -> AbstractContextManager:
        """Return the context in which models compute in `dtype`."""
        kind = DTYPES[self.dtype]
        return torch.autocast(self.device.type, kind, enabled=kind != torch.float32)
