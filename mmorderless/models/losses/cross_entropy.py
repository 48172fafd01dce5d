"""Cross-entropy over the steps of label sequences."""

import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from mmorderless.labels.vocabulary import IGNORE


def sequence_cross_entropy(logits: Tensor, tokens: Tensor, average: str = "local") -> Tensor:
    """Cross-entropy in nats, averaged over the counted steps (Eq. 3, with its minus sign).

    Args:
        logits: shape (B, T, C + 1).
        tokens: target of each step, IGNORE where it does not count, shape (B, T).
        average: `local` divides by the batch's number of counted steps, as mmpretrain's heads do;
            `world` by its mean over all processes, so that N processes give the same result as one.

    Returns:
        A scalar, float32.
    """
    summed = F.cross_entropy(
        logits.flatten(0, 1).float(), tokens.flatten(), ignore_index=IGNORE, reduction="sum"
    )
    return summed / loss_normalizer((tokens != IGNORE).sum().float(), average)


def loss_normalizer(count: Tensor, average: str) -> Tensor:
    """Number of counted steps to average over, see `sequence_cross_entropy`."""
    if average == "world" and dist.is_available() and dist.is_initialized():
        dist.all_reduce(count)
        count = count / dist.get_world_size()
    return count
