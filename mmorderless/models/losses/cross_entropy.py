"""Cross-entropy over the steps of label sequences."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from mmorderless.labels.vocabulary import IGNORE


def sequence_cross_entropy(
    logits: Tensor, tokens: Tensor, average: str = "local", token_weight: Tensor | None = None
) -> Tensor:
    """Cross-entropy in nats, averaged over the counted steps (Eq. 3, with its minus sign).

    Args:
        logits: shape (B, T, C + 1).
        tokens: target of each step, IGNORE where it does not count, shape (B, T).
        average: what the loss is averaged over, see `average_over_steps`.
        token_weight: weight of each target token, shape (C + 1,). The average is then the weighted
            mean, as in PyTorch: a counted step enters the number of steps with its weight.

    Returns:
        A scalar, float32.
    """
    weight = (tokens != IGNORE).float()
    if token_weight is not None:
        token_weight = token_weight.float()
        weight = weight * token_weight[tokens.clamp(min=0)]
    entries = F.cross_entropy(
        logits.flatten(0, 1).float(),
        tokens.flatten(),
        token_weight,
        ignore_index=IGNORE,
        reduction="none",
    )
    return average_over_steps(entries.view_as(weight), weight, average)


def average_over_steps(entries: Tensor, weight: Tensor, average: str) -> Tensor:
    """Average a loss over steps.

    Args:
        entries: loss of each step, multiplied by its weight, shape (B, T).
        weight: weight of each step, 0 where it does not count, shape (B, T).
        average: `local` divides by the batch's number of counted steps, as mmpretrain's heads do;
            `world` by its mean over all processes, so that N processes give the same result as one;
            `image` averages over each image's own steps and then over the local batch, so that
            images with few labels count as much as others.

    Returns:
        A scalar; 0 when all weights are 0.
    """
    smallest = torch.finfo(torch.float32).tiny
    if average == "image":
        return (entries.sum(1) / weight.sum(1).clamp(min=smallest)).mean()
    count = weight.sum()
    if average == "world" and dist.is_available() and dist.is_initialized():
        dist.all_reduce(count)
        count = count / dist.get_world_size()
    return entries.sum() / count.clamp(min=smallest)
