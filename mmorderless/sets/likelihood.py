"""The likelihood that a distribution over label sets is trained with."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmorderless.sets.sums import find_sets, sum_over_classes

NONE = -1e30
"""log 0, but finite: with −∞ the weight of an only known set would be NaN."""


def leave_one_out(
    sets: Tensor,
    counts: Tensor,
    scores: Tensor,
    count_weight: Tensor,
    logits: Tensor,
    ties: Tensor,
    share_logit: Tensor,
    labels: Tensor,
) -> Tensor:
    """Return log P(Y | x) of training images whose own set counts one image less, shape (B,).

        w = softmax_k(score_k + γ log n_k),   n_k − 1 for the image's own set

    Where that leaves 0, only noisy copies of other sets explain the image; without this π would go
    to 1. The gradient is that of all arguments.

    Args:
        sets: U, shape (K, C).
        counts: n, how many training images have each set, shape (K,).
        scores: of the known sets, shape (B, K).
        count_weight: γ, a scalar.
        logits: s, shape (B, C).
        ties: τ, shape (C,).
        share_logit: ρ, where π = σ(ρ), a scalar.
        labels: Y as 0 and 1, shape (B, C); soft labels are no known set.
    """
    labels = labels.to(sets.dtype)
    index, is_known = find_sets(labels, sets)
    others = counts[index] - 1  # (B,)
    is_left = is_known & (others > 0)
    column = index[:, None]
    set_logits = scores + count_weight * counts.to(scores.dtype).log()
    own = scores.gather(1, column)[:, 0] + count_weight * others.clamp(min=1).to(scores.dtype).log()
    own = torch.where(is_left, own, NONE)
    own = torch.where(is_known, own, set_logits.gather(1, column)[:, 0])
    log_weights = set_logits.scatter(1, column, own[:, None]).log_softmax(1)
    log_exact = torch.where(is_left, log_weights.gather(1, column)[:, 0], NONE)
    inside, outside = (
        -F.binary_cross_entropy_with_logits(a, labels, reduction="none")
        for a in (logits + ties, logits - ties)
    )
    log_noisy = (log_weights + sum_over_classes(inside, outside, sets)).logsumexp(1)
    return torch.logaddexp(
        F.logsigmoid(share_logit) + log_exact, F.logsigmoid(-share_logit) + log_noisy
    )
