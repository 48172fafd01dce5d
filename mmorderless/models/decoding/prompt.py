"""Known labels in decoding: sequences begin with given labels, and excluded ones never follow.

Letters: B images, C classes, P labels of the longest prompt, R rows.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

FORCED = 1e4
"""Logit of a forced label; with −∞ for all others its probability is 1 by softmax and sigmoid."""


class Prompt(NamedTuple):
    """Known labels of a batch.

    Args:
        tokens: the labels that each image's sequence begins with, END (C) after the last of them,
            shape (B, P).
        given: the same labels, shape (B, C), bool.
        excluded: classes that are never emitted, shape (B, C), bool.
    """

    tokens: Tensor
    given: Tensor
    excluded: Tensor

    @property
    def num_given(self) -> Tensor:
        """Number of labels that each image's sequence begins with, shape (B,)."""
        return self.given.sum(1)

    def check_fits(self, max_steps: int, min_labels: int) -> None:
        """Raise a ValueError when a prompt leaves no step for END, or too few classes."""
        longest = self.tokens.shape[1]
        if longest > max_steps - 1:
            raise ValueError(
                f"image {int(self.num_given.argmax())} of the batch has {longest} given labels, "
                f"but at most {max_steps - 1} can be emitted (max_steps={max_steps} with END); "
                "give fewer"
            )
        allowed = int((~self.excluded).sum(1).min()) if min_labels else 0
        if allowed < min_labels:
            raise ValueError(
                f"min_labels={min_labels}, but only {allowed} classes are not excluded; exclude "
                "fewer, or lower min_labels"
            )

    def force(self, logits: Tensor, t: int, images: Tensor) -> Tensor:
        """Return the logits to choose by, with known labels forced or masked.

        Args:
            logits: what would be chosen by otherwise, shape (R, C + 1); may be overwritten.
            t: the step, from 0 on.
            images: each row's image, shape (R,).
        """
        end = logits.shape[1] - 1
        logits[:, :end].masked_fill_((self.given | self.excluded)[images], -math.inf)
        if t >= self.tokens.shape[1]:
            return logits
        token = self.tokens[images, t]
        forced = torch.full_like(logits, -math.inf).scatter_(1, token[:, None], FORCED)
        return torch.where(token[:, None] == end, logits, forced)
