"""How a sequence is chosen from a decoder's logits: greedy, with constraints, or by beam search.

Letters: B images, K hypotheses an image (the beam's width), C classes, T steps, L cells.

All options act on the choice alone: logits and probabilities that are reported are the model's own.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple, Optional

import torch
from torch import Tensor

from ..transfer import to_host
from .label_decoder import LabelDecoder, Rollout, select


@dataclass(frozen=True)
class Decoding:
    """Options of decoding; as they are, greedy arg max.

    Args:
        beam_width: hypotheses K that are kept of each image; 1 is greedy.
        length_penalty: α; hypotheses are ranked by log p / S^α, S being their tokens with END (Wu
            et al. 2016 have a variant of this). At 0 short sequences have an advantage.
        no_repeat: never emit a label twice.
        min_labels: END and repeats are barred before so many distinct labels.
        max_labels: END is forced after so many distinct labels.
        end_bias: subtracted from END's logit: above 0 it raises recall, below 0 precision. It is
            the sequence model's dial, as the threshold is BCE's.

    Raises:
        ValueError: a number is out of its range.
    """

    beam_width: int = 1
    length_penalty: float = 0.0
    no_repeat: bool = False
    min_labels: int = 0
    max_labels: Optional[int] = None
    end_bias: float = 0.0

    def __post_init__(self) -> None:
        if self.beam_width < 1:
            raise ValueError(f"beam_width must be at least 1 (greedy), got {self.beam_width}")
        if self.min_labels < 0:
            raise ValueError(f"min_labels must not be negative, got {self.min_labels}")
        if self.max_labels is not None and self.max_labels < max(self.min_labels, 1):
            raise ValueError(
                f"max_labels must be at least 1 and at least min_labels={self.min_labels}, got "
                f"{self.max_labels}"
            )
        for name in ("length_penalty", "end_bias"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be a finite number, got {getattr(self, name)}")
        if self.length_penalty and self.beam_width == 1:
            raise ValueError(
                f"length_penalty={self.length_penalty} ranks hypotheses, and greedy decoding has "
                "one; set beam_width above 1"
            )

    def check_fits(self, num_classes: int, max_steps: int) -> None:
        """Raise a ValueError when so many labels can never be emitted.

        Args:
            num_classes: C.
            max_steps: most steps of a rollout; END counts as one.
        """
        most = min(num_classes, max_steps - 1)
        if self.min_labels > most:
            raise ValueError(
                f"min_labels={self.min_labels}, but at most {most} labels can be emitted "
                f"({num_classes} classes, max_steps={max_steps} with END)"
            )

    @property
    def constrains(self) -> bool:
        """Whether any choice can differ from the arg max."""
        return bool(
            self.no_repeat
            or self.min_labels
            or self.max_labels is not None
            or self.end_bias
            or self.beam_width > 1
        )

    def adjust(self, logits: Tensor, emitted: Tensor) -> Tensor:
        """Logits to choose by; −∞ is barred.

        Args:
            logits: shape (R, C + 1).
            emitted: which labels a row has emitted, shape (R, C).
        """
        end = logits.shape[1] - 1
        adjusted = logits.float().clone()
        adjusted[:, end] -= self.end_bias
        if self.no_repeat:
            adjusted[:, :end].masked_fill_(emitted, -math.inf)
        if not self.min_labels and self.max_labels is None:
            return adjusted
        count = emitted.sum(1)
        short = count < self.min_labels  # and a repeat would not help
        adjusted[:, end].masked_fill_(short, -math.inf)
        adjusted[:, :end].masked_fill_(emitted & short[:, None], -math.inf)
        if self.max_labels is not None:
            adjusted[:, :end].masked_fill_((count >= self.max_labels)[:, None], -math.inf)
        return adjusted


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
) -> tuple[Rollout, Optional[Beams]]:
    """Decode a batch by the options.

    Args:
        decoder: any decoder.
        grid: cells, shape (B, L, D).
        max_steps: T at most; END counts as one.
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
    if not decoding.constrains:
        return decoder.rollout(grid, max_steps, True, return_attention), None
    num_classes = decoder.vocabulary.num_classes
    decoding.check_fits(num_classes, max_steps)
    emitted = torch.zeros((len(grid), num_classes), dtype=torch.bool, device=grid.device)

    def choose(t: int, logits: Tensor, images: Tensor) -> Tensor:
        token = decoding.adjust(logits, emitted[images]).argmax(1)
        emitted[images] |= _one_hot(token, num_classes)
        return token

    return decoder.rollout(grid, max_steps, True, return_attention, choose=choose), None


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
        max_steps: T at most; END counts as one.
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
    step = decoder.stepper(batch * width * max_steps)
    token = torch.full((batch * width,), decoder.vocabulary.start, device=device)
    emitted = torch.zeros((batch * width, num_classes), dtype=torch.bool, device=device)
    log_p = torch.full((batch, width), -math.inf, device=device)
    log_p[:, 0] = 0  # all hypotheses are the same at first
    length = torch.zeros((batch, width), device=device)  # tokens with END
    ended = torch.zeros((batch, width), dtype=torch.bool, device=device)
    stays = torch.full((num_classes + 1,), -math.inf, device=device)
    stays[end] = 0  # an ended hypothesis has one continuation, itself
    history: list[tuple[Tensor, Tensor, Tensor, Optional[Tensor]]] = []
    look_every = 1 if device.type == "cpu" else 4
    for t in range(max_steps):
        logits, state, attention = step(token, state)
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
        if (t + 1) % look_every == 0 and to_host(ended).all():
            break
    rank = log_p / length.pow(decoding.length_penalty)
    order = rank.argsort(dim=1, descending=True, stable=True)  # (B, K)
    return _trace(history, order, log_p.gather(1, order), end)


def _trace(
    history: list[tuple[Tensor, Tensor, Tensor, Optional[Tensor]]],
    order: Tensor,
    log_p: Tensor,
    end: int,
) -> Beams:
    """Follow the hypotheses back to the first step.

    Args:
        history: of each step the hypotheses' parents and emissions, (B, K) each, and the rows'
            logits (B K, C + 1) and attention (B K, L).
        order: hypotheses from best to worst, shape (B, K).
        log_p: theirs, shape (B, K).
        end: END.
    """
    width = order.shape[1]
    first = torch.arange(len(order), device=order.device) * width
    place, tokens, logits, maps = order, [], [], []
    for parent, emission, of_rows, attention in reversed(history):
        tokens.append(emission.gather(1, place))
        place = parent.gather(1, place)
        best = first + place[:, 0]  # the row from which the best hypothesis went on
        logits.append(of_rows[best])
        if attention is not None:
            maps.append(attention[best])
    chosen = torch.stack(tokens[::-1], 2)  # (B, K, T)
    # What follows the first END is END.
    chosen = chosen.masked_fill((chosen == end).cumsum(2) > 0, end)
    rollout = Rollout(
        torch.stack(logits[::-1], 1),
        chosen[:, 0],
        torch.stack(maps[::-1], 1) if maps else None,
    )
    return Beams(chosen, log_p, rollout)


def _one_hot(token: Tensor, num_classes: int) -> Tensor:
    """Which label a token is, shape (R, C); none for END."""
    hot = torch.zeros((len(token), num_classes + 1), dtype=torch.bool, device=token.device)
    return hot.scatter_(1, token[:, None], True)[:, :num_classes]
