"""Dropout whose mask is cheap on a CPU and can be kept."""

import torch
from torch import Tensor

STEPS = 2**16
"""A probability is rounded to a multiple of 1 / STEPS; 0.5 is exact."""


def draw_mask(like: Tensor, probability: float) -> Tensor:
    """Draw which entries are kept: True with 1 − probability, each by itself.

    A CPU draws a double for every entry of PyTorch's own dropout, which at (32, 81, 2048) takes
    longer than the attention; here four entries share the bits of one draw.

    Args:
        like: a tensor of the mask's shape, on its device.
        probability: of being dropped, 0 … 1.
    """
    if like.device.type != "cpu":
        kept = torch.empty(like.shape, dtype=torch.bool, device=like.device)
        return kept.bernoulli_(1 - _rounded(probability))
    bits = torch.empty(-(-like.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    draws = bits.view(torch.int16)[: like.numel()].view(like.shape)  # −STEPS / 2 … STEPS / 2 − 1
    last_dropped = round(probability * STEPS) - STEPS // 2 - 1
    return draws > last_dropped if last_dropped >= -STEPS // 2 else torch.ones_like(draws) > 0


def drop_cells(grid: Tensor, probability: float) -> Tensor:
    """Drop entries of the cells (B, L, D) that a rollout attends to; at 0 they stay as they are."""
    if probability == 0:
        return grid
    return grid * draw_mask(grid, probability) * scale_of(probability)


def scale_of(probability: float) -> float:
    """What kept entries are multiplied by, so that their mean stays."""
    kept = 1 - _rounded(probability)
    return 1 / kept if kept > 0 else 0.0


def _rounded(probability: float) -> float:
    return round(probability * STEPS) / STEPS
