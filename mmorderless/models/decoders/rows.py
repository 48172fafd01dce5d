"""Rows of a rollout: those that are still decoded, and where each looked for its token.

Letters: R rows, L cells, C classes.
"""

from typing import Any

import torch
from torch import Tensor


def select(state: Any, rows: Tensor | slice) -> Any:
    """Select rows of a state: a tensor, what all rows share, or a (nested) tuple of these."""
    if isinstance(state, Tensor):
        return state[rows]
    if not isinstance(state, tuple):
        return state
    parts = [select(part, rows) for part in state]
    return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)


def weights_of(token: Tensor, weights: Tensor) -> Tensor:
    """Return the attention weights (R, L) with which tokens (R,) were emitted.

    Args:
        token: the emitted tokens.
        weights: what a step returned, shape (R, L) or (R, C, L); END has the mean of all classes.
    """
    if weights.dim() == 2:
        return weights
    whole = torch.cat([weights, weights.mean(1, keepdim=True)], 1)  # (R, C + 1, L)
    return whole[torch.arange(token.shape[0], device=token.device), token]
