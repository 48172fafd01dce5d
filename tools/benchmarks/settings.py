"""What the command line sets for every part."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Optional

import torch

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Settings:
    """How to measure.

    Args:
        device: where models and logits are.
        dtype: name of the type that models compute in, a key of `DTYPES`; the weights stay fp32.
        repeats: samples of each quantity.
        batch: images of a batch, in place of each part's own number; None keeps that.
        quick: tiny sizes, only to see that the parts run.
    """

    device: torch.device
    dtype: str = "fp32"
    repeats: int = 7
    batch: Optional[int] = None
    quick: bool = False

    def autocast(self) -> AbstractContextManager:
        """Context in which models compute in the type."""
        kind = DTYPES[self.dtype]
        return torch.autocast(self.device.type, kind, enabled=kind != torch.float32)
