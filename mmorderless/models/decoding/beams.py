"""Hypotheses of beam search: the rows that a search decodes, and what it returns.

Letters: B images, K hypotheses an image (the beam's width), C classes, T steps, L cells.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mmorderless.models.decoders.base import LabelDecoder, Rollout
from mmorderless.models.decoders.rows import select, weights_of
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.prompt import Prompt


class Beams(NamedTuple):
    """Hypotheses of a batch, the best first.

    Args:
        tokens: END after the first END, shape (B, K, T).
        log_probability: in nats, of the sequence up to END under the adjusted logits, −∞ where
            there are fewer hypotheses than K, shape (B, K).
        best: the rollout of the best hypothesis.
    """

    tokens: Tensor
    log_probability: Tensor
    best: Rollout

    def marginals(self, num_classes: int) -> Tensor:
        """Probability of each class, shape (B, C): share of the hypotheses that hold it, each
        weighed by its probability.
        """
        weights = self.log_probability.softmax(1)  # (B, K)
        holds = torch.zeros(
            (*self.tokens.shape[:2], num_classes + 1), dtype=weights.dtype, device=weights.device
        )
        holds.scatter_(2, self.tokens, 1.0)  # (B, K, C + 1)
        return (weights[:, :, None] * holds)[:, :, :num_classes].sum(1).clamp(max=1)


class Beam:
    """The rows that a search decodes: K hypotheses of each image, all the same at first.

    A search calls `step` and then `keep` at each step, and `trace` at the end. No gradients are
    kept.

    Args:
        decoder: any decoder.
        grid: cells, shape (B, L, D).
        max_steps: maximum number of steps, including END.
        decoding: the options.
        return_attention: keep the attention weights of the best hypothesis.
        prompt: known labels, on which probabilities are then conditional.

    Raises:
        ValueError: more labels are asked for than can be emitted, or the decoder does not attend.
    """

    @torch.no_grad()
    def __init__(
        self,
        decoder: LabelDecoder,
        grid: Tensor,
        max_steps: int,
        decoding: Decoding,
        return_attention: bool = False,
        prompt: Prompt | None = None,
    ) -> None:
        decoding.check_fits(decoder.vocabulary.num_classes, max_steps)
        if return_attention:
            decoder.check_attends()
        self.decoder, self.decoding, self.return_attention = decoder, decoding, return_attention
        self.max_steps, self.prompt = max_steps, prompt
        batch, width, device = len(grid), decoding.beam_width, grid.device
        self.num_classes, self.end = decoder.vocabulary.num_classes, decoder.vocabulary.end
        # Row of each image's first hypothesis, (B, 1).
        self.first = torch.arange(batch, device=device)[:, None] * width
        # The image's state once, then a row for each hypothesis.
        self.images = (self.first // width).expand(-1, width).reshape(-1)
        self.state = select(decoder.init_state(grid), self.images)
        self.token = torch.full((batch * width,), decoder.vocabulary.start, device=device)
        self.emitted = torch.zeros(
            (batch * width, self.num_classes), dtype=torch.bool, device=device
        )
        if prompt is not None:
            self.emitted |= prompt.given[self.images]
        self.log_p = torch.full((batch, width), -math.inf, device=device)
        self.log_p[:, 0] = 0
        self.history: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = []
        # Reading whether all images have ended synchronizes with the device.
        self.sync_every = 1 if device.type == "cpu" else 4

    def step(self) -> Tensor:
        """Decode a step and return the logits to choose by, shape (B, K, C + 1)."""
        logits, self.state, attention = self.decoder.step(self.token, self.state)
        self._output = logits, attention if self.return_attention else None
        adjusted = self.decoding.adjust(logits, self.emitted)
        if self.prompt is not None:
            adjusted = self.prompt.force(adjusted, len(self.history), self.images)
        return adjusted.unflatten(0, self.log_p.shape)

    def keep(
        self, log_p: Tensor, parent: Tensor, emission: Tensor, ended: Tensor | None = None
    ) -> None:
        """Continue with other hypotheses.

        Args:
            log_p: their log probability, shape (B, K).
            parent: the hypothesis that each of them continues, shape (B, K).
            emission: the token that it emits, shape (B, K).
            ended: hypotheses beside those that are decoded: the one that each continues by END,
                which is itself from K on; shape (B, K).
        """
        rows = (self.first + parent).flatten()
        self.log_p, self.token = log_p, emission.flatten()
        self.state = self.decoder.reorder(self.state, rows)
        self.emitted = self.emitted[rows] | one_hot(self.token, self.num_classes)
        if ended is not None:
            parent = torch.cat([parent, ended], 1)
            emission = torch.cat([emission, torch.full_like(ended, self.end)], 1)
        self.history.append((parent, emission, *self._output))

    def all_ended(self, ended: Tensor) -> bool:
        """Whether all are known to have ended; an accelerator is asked at every fourth step."""
        return len(self.history) % self.sync_every == 0 and bool(ended.all())

    def trace(self, order: Tensor, log_p: Tensor) -> Beams:
        """Follow hypotheses, from best to worst (B, K), back to the first step."""
        first, width = self.first[:, 0], self.log_p.shape[1]
        hypothesis, tokens, logits, maps = order, [], [], []
        for parent, emission, of_rows, attention in reversed(self.history):
            tokens.append(emission.gather(1, hypothesis))
            hypothesis = parent.gather(1, hypothesis)
            # The row from which the best hypothesis went on; any row for one that had ended.
            best = first + hypothesis[:, 0].clamp(max=width - 1)
            logits.append(of_rows[best])
            if attention is not None:
                maps.append(weights_of(tokens[-1][:, 0], attention[best]))
        chosen = torch.stack(tokens[::-1], 2)  # (B, K, T)
        # What follows the first END is END.
        chosen = chosen.masked_fill((chosen == self.end).cumsum(2) > 0, self.end)
        attention = torch.stack(maps[::-1], 1) if maps else None
        return Beams(chosen, log_p, Rollout(torch.stack(logits[::-1], 1), chosen[:, 0], attention))


def one_hot(token: Tensor, num_classes: int) -> Tensor:
    """Which label a token is, shape (R, C); none for END."""
    hot = torch.zeros((token.shape[0], num_classes + 1), dtype=torch.bool, device=token.device)
    return hot.scatter_(1, token[:, None], True)[:, :num_classes]
