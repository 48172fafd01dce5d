"""Cross-entropy over the steps of label sequences."""

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
        average: `local` divides by the batch's number of counted steps, as mmpretrain's heads do;
            `world` by its mean over all processes, so that N processes give the same result as one.
        token_weight: weight of each target token, shape (C + 1,). The average is then the weighted
            mean, as in PyTorch: a counted step enters the number of steps with its weight.

    Returns:
        A scalar, float32.
    """
    counted = (tokens != IGNORE).float()
    if token_weight is not None:
        token_weight = token_weight.float()
        counted = counted * token_weight[tokens.clamp(min=0)]
    summed = F.cross_entropy(
        logits.flatten(0, 1).float(),
        tokens.flatten(),
        token_weight,
        ignore_index=IGNORE,
        reduction="sum",
    )
    return summed / loss_normalizer(counted.sum(), average)


def loss_normalizer(count: Tensor, average: str) -> Tensor:
    """Number of counted steps, or their weight, to average over: see `sequence_cross_entropy`."""
    if average == "world" and dist.is_available() and dist.is_initialized():
        dist.all_reduce(count)
        count = count / dist.get_world_size()
    return count
