"""From a rollout to label sets: emitted labels, their order and their probabilities.

Letters: B images, C classes, T steps.
"""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmorderless.labels.vocabulary import Vocabulary


class Emission(NamedTuple):
    """Emitted labels of a batch.

    Args:
        tokens: what each step emitted, shape (B, T).
        probabilities: probability of that token, shape (B, T).
        length: steps before the first END, shape (B,).
        is_new: which steps emit a label for the first time, shape (B, T).
        scores: per class a score that ranks images, shape (B, C); see `read_rollout`.
    """

    tokens: Tensor
    probabilities: Tensor
    length: Tensor
    is_new: Tensor
    scores: Tensor


def emitted_before(tokens: Tensor, num_classes: int) -> Tensor:
    """Return which labels the steps before emitted, shape (B, T, C), bool, from tokens (B, T)."""
    emits = F.one_hot(tokens, num_classes + 1)[:, :, :num_classes]
    return emits.cumsum(1) > emits


def mask_emitted(logits: Tensor, tokens: Tensor) -> Tensor:
    """Return logits (B, T, C + 1) with −∞ for labels emitted before, never for END, float32."""
    emitted = emitted_before(tokens, logits.shape[2] - 1)
    return logits.float().masked_fill(F.pad(emitted, (0, 1)), -math.inf)


def read_rollout(
    logits: Tensor,
    tokens: Tensor,
    score: str = "max",
    sigmoid: bool = False,
    num_given: Tensor | None = None,
) -> Emission:
    """Read label sets and scores from a rollout.

    The paper has no scores of classes. Of other implementations of sequence models most have none;
    the multi-order RNN (Dutta et al., ECCV 2020) takes the largest logit over the steps.

    Args:
        logits: shape (B, T, C + 1).
        tokens: what each step emitted, shape (B, T).
        score: `max`, the largest probability that a step up to and including END's gave the class;
            or `first`, the probability at the step that first emitted it, 0 for a class that was
            not emitted.
        sigmoid: whether each label has a probability of its own, instead of a softmax over the
            labels and END.
        num_given: how many steps emitted a given label; the steps after them score, shape (B,).
    """
    end = Vocabulary(logits.shape[2] - 1).end
    p = logits.float().sigmoid() if sigmoid else logits.float().softmax(2)  # (B, T, C + 1)
    is_end = tokens == end
    ends_seen = is_end.cumsum(1)
    before_end = ends_seen == 0
    counted = before_end | (is_end & (ends_seen == 1))  # END's own step counts
    same = tokens[:, :, None] == tokens[:, None, :]  # (B, step, earlier step)
    repeats = same.tril(-1).any(2)
    is_new = before_end & ~repeats
    probabilities = p.gather(2, tokens[:, :, None])[:, :, 0]
    if num_given is not None:
        steps = torch.arange(tokens.shape[1], device=tokens.device)
        counted = counted & (steps >= num_given[:, None])
    if score == "max":
        scores = torch.where(counted[:, :, None], p[:, :, :end], 0).amax(1)
    else:  # END's column takes what is not new
        scores = p.new_zeros(p.shape[0], end + 1)
        scores.scatter_(1, torch.where(is_new, tokens, end), probabilities)
        scores = scores[:, :end]
    return Emission(tokens, probabilities, before_end.sum(1), is_new, scores)


def end_probability(emission: Emission) -> Tensor:
    """Return END's probability after the emitted labels, shape (B,); 1 where the steps ran out."""
    probabilities = F.pad(emission.probabilities, (0, 1), value=1.0)
    return probabilities.gather(1, emission.length[:, None])[:, 0]
