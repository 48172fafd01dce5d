"""From a rollout to label sets: what was emitted, in which order, how surely.

Letters: B images, C classes, T steps.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ..vocabulary import Vocabulary


class Emission(NamedTuple):
    """What a batch emitted.

    Args:
        tokens: arg max of each step, shape (B, T).
        probabilities: softmax probability of that token, shape (B, T).
        length: steps before the first END, shape (B,).
        is_new: which steps emit a label for the first time, shape (B, T).
        scores: per class the largest probability over the steps up to and including END,
            shape (B, C).
    """

    tokens: Tensor
    probabilities: Tensor
    length: Tensor
    is_new: Tensor
    scores: Tensor


def read_rollout(logits: Tensor, tokens: Tensor) -> Emission:
    """Read label sets and scores off a rollout.

    Args:
        logits: shape (B, T, C + 1).
        tokens: arg max of each step, shape (B, T).
    """
    end = Vocabulary(logits.shape[2] - 1).end
    p = logits.float().softmax(2)  # (B, T, C + 1)
    is_end = tokens == end
    ends_seen = is_end.cumsum(1)
    before_end = ends_seen == 0
    counted = before_end | (is_end & (ends_seen == 1))  # END's own step counts
    same = tokens[:, :, None] == tokens[:, None, :]  # (B, step, earlier step)
    repeats = same.tril(-1).any(2)
    return Emission(
        tokens=tokens,
        probabilities=p.gather(2, tokens[:, :, None])[:, :, 0],
        length=before_end.sum(1),
        is_new=before_end & ~repeats,
        scores=torch.where(counted[:, :, None], p[:, :, :end], 0).amax(1),
    )
