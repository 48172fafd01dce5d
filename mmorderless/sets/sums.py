"""Sums over known label sets as products of matrices."""

import torch
from torch import Tensor


def find_sets(sets: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Find each set among the known ones.

    Args:
        sets: floating point in [0, 1], shape (B, C); only sets of 0 and 1 are found.
        known: U, shape (K, C).

    Returns:
        Indices of the known sets, any one for a set that is not found, and which are found; both of
        shape (B,).
    """
    # S and U_k differ in |S| + |U_k| − 2 |S ∩ U_k| classes.
    common = product(sets, known.T)  # (B, K)
    same = (common == known.sum(1)) & (common == sets.sum(1, keepdim=True))
    is_known, index = same.int().max(1)
    return index, is_known > 0


def sum_over_classes(inside: Tensor, outside: Tensor, sets: Tensor) -> Tensor:
    """Return Σ_c of `inside` where U_kc = 1 and of `outside` where it is 0, shape (B, K).

    Args:
        inside: shape (B, C).
        outside: shape (B, C).
        sets: U, shape (K, C).
    """
    return product(inside - outside, sets.T) + outside.sum(1, keepdim=True)


def product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply matrices in their own precision, under autocast too."""
    with torch.autocast(left.device.type, enabled=False):
        return left @ right
