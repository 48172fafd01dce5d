"""Choose a sequence from a decoder's logits: greedy, with constraints, or by beam search.

Letters: B images, K hypotheses an image (the beam's width), C classes, T steps, L cells.

All options act on the choice alone: logits and probabilities that are reported are the model's own.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mmorderless.models.decoders.base import Choose, LabelDecoder, Rollout, select
from mmorderless.models.decoding.options import Decoding


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

        Args:
            num_classes: C.
        """
        weights = self.log_probability.softmax(1)  # (B, K)
        holds = torch.zeros(
            (*self.tokens.shape[:2], num_classes + 1), dtype=weights.dtype, device=weights.device
        )
        holds.scatter_(2, self.tokens, 1.0)  # (B, K, C + 1)
        return (weights[:, :, None] * holds)[:, :, :num_classes].sum(1).clamp(max=1)


def decode(
    decoder: LabelDecoder,
    grid: Tensor,
    max_steps: int,
    decoding: Decoding,
    return_attention: bool = False,
) -> tuple[Rollout, Beams | None]:
    """Decode a batch by the options.

    Args:
        decoder: any decoder.
        grid: cells, shape (B, L, D).
        max_steps: maximum number of steps, including END.
        decoding: the options.
        return_attention: keep the attention weights of every step.

    Returns:
        The rollout to read, and with `beam_width` above 1 the hypotheses.

    Raises:
        ValueError: more labels are asked for than can be emitted.
    """
    if decoding.beam_width > 1:
        beams = beam_search(decoder, grid, max_steps, decoding, return_attention)
        return beams.best, beams
    if decoding == Decoding():  # every choice is the arg max
        return decoder.rollout(grid, max_steps, True, return_attention), None
    num_classes = decoder.vocabulary.num_classes
    decoding.check_fits(num_classes, max_steps)
    emitted = torch.zeros((len(grid), num_classes), dtype=torch.bool, device=grid.device)
    choose = greedy_choice(decoding, emitted)
    return decoder.rollout(grid, max_steps, True, return_attention, choose=choose), None


def greedy_choice(decoding: Decoding, emitted: Tensor) -> Choose:
    """Return the choice of the best token by the options, one step after the other.

    Args:
        decoding: the options.
        emitted: which labels were emitted, shape (B, C), bool; kept up to date.
    """

    def choose(t: int, logits: Tensor, images: Tensor) -> Tensor:
        token = decoding.adjust(logits, emitted[images]).argmax(1)
        emitted[images] |= _one_hot(token, emitted.shape[1])
        return token

    return choose


@torch.no_grad()
def beam_search(
    decoder: LabelDecoder,
    grid: Tensor,
    max_steps: int,
    decoding: Decoding,
    return_attention: bool = False,
) -> Beams:
    """Find the most probable sequences of a batch, approximately.

    At each step every hypothesis is continued by every token, and the K best continuations of an
    image are kept; one that has emitted END stays as it is. Hypotheses that reach `max_steps`
    without END compete as they are.

    Args:
        decoder: any decoder.
        grid: cells, shape (B, L, D).
        max_steps: maximum number of steps, including END.
        decoding: the options; with `beam_width=1` the result is that of greedy decoding.
        return_attention: keep the attention weights of the best hypothesis.

    Raises:
        ValueError: more labels are asked for than can be emitted, or the decoder does not attend.
    """
    decoding.check_fits(decoder.vocabulary.num_classes, max_steps)
    if return_attention:
        decoder.check_attends()
    batch, width, end = len(grid), decoding.beam_width, decoder.vocabulary.end
    num_classes, device = decoder.vocabulary.num_classes, grid.device
    first = torch.arange(batch, device=device)[:, None] * width  # (B, 1), row of a first hypothesis
    # The image's state once, then a row for each hypothesis.
    state = select(decoder.init_state(grid), (first // width).expand(-1, width).reshape(-1))
    token = torch.full((batch * width,), decoder.vocabulary.start, device=device)
    emitted = torch.zeros((batch * width, num_classes), dtype=torch.bool, device=device)
    log_p = torch.full((batch, width), -math.inf, device=device)
    log_p[:, 0] = 0  # all hypotheses are the same at first
    length = torch.zeros((batch, width), device=device)  # tokens with END
    ended = torch.zeros((batch, width), dtype=torch.bool, device=device)
    stays = torch.full((num_classes + 1,), -math.inf, device=device)
    stays[end] = 0  # an ended hypothesis has one continuation, itself
    history: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = []
    # Reading `ended` synchronizes with the device.
    sync_every = 1 if device.type == "cpu" else 4
    for t in range(max_steps):
        logits, state, attention = decoder.step(token, state)
        steps = decoding.adjust(logits, emitted).log_softmax(1).view(batch, width, -1)
        steps = torch.where(ended[:, :, None], stays, steps)
        total = (log_p[:, :, None] + steps).flatten(1)  # (B, K (C + 1))
        grown = length + (~ended).float()
        ranked = total
        if decoding.length_penalty:
            divisor = grown.pow(decoding.length_penalty)[:, :, None].expand_as(steps).flatten(1)
            ranked = total / divisor
        choice = ranked.topk(width, 1).indices if width > 1 else ranked.argmax(1, keepdim=True)
        parent, emission = choice // (num_classes + 1), choice % (num_classes + 1)  # (B, K)
        rows = (first + parent).flatten()
        log_p = total.gather(1, choice)
        length, ended = grown.gather(1, parent), ended.gather(1, parent) | (emission == end)
        token = emission.flatten()
        state = decoder.reorder(state, rows)
        emitted = emitted[rows] | _one_hot(token, num_classes)
        history.append((parent, emission, logits, attention if return_attention else None))
        if (t + 1) % sync_every == 0 and ended.all():
            break
    rank = log_p / length.pow(decoding.length_penalty)
    order = rank.argsort(dim=1, descending=True, stable=True)  # (B, K)
    return _trace(history, order, log_p.gather(1, order), end)


def _trace(
    history: list[tuple[Tensor, Tensor, Tensor, Tensor | None]],
    order: Tensor,
    log_p: Tensor,
    end: int,
) -> Beams:
    """Follow the hypotheses back to the first step.

    Args:
        history: for each step the hypotheses' parents and emissions, (B, K) each, and the rows'
            logits (B K, C + 1) and attention (B K, L).
        order: hypotheses from best to worst, shape (B, K).
        log_p: log probability of each hypothesis, shape (B, K).
        end: END.
    """
    width = order.shape[1]
    first = torch.arange(len(order), device=order.device) * width
    hypothesis, tokens, logits, maps = order, [], [], []
    for parent, emission, of_rows, attention in reversed(history):
        tokens.append(emission.gather(1, hypothesis))
        hypothesis = parent.gather(1, hypothesis)
        best = first + hypothesis[:, 0]  # the row from which the best hypothesis went on
        logits.append(of_rows[best])
        if attention is not None:
            maps.append(attention[best])
    chosen = torch.stack(tokens[::-1], 2)  # (B, K, T)
    # What follows the first END is END.
    chosen = chosen.masked_fill((chosen == end).cumsum(2) > 0, end)
    rollout = Rollout(
        torch.stack(logits[::-1], 1), chosen[:, 0], torch.stack(maps[::-1], 1) if maps else None
    )
    return Beams(chosen, log_p, rollout)


def _one_hot(token: Tensor, num_classes: int) -> Tensor:
    """Which label a token is, shape (R, C); none for END."""
    hot = torch.zeros((len(token), num_classes + 1), dtype=torch.bool, device=token.device)
    return hot.scatter_(1, token[:, None], True)[:, :num_classes]
