"""Choose a sequence from a decoder's logits: greedy, with constraints, or by beam search.

Letters: B images, C classes, L cells.

All options act on the choice alone: logits and probabilities that are reported are the model's own.
"""

import torch
from torch import Tensor

from mmorderless.models.decoders.base import Choose, LabelDecoder, Rollout
from mmorderless.models.decoding.beam_search import beam_search, open_beam_search
from mmorderless.models.decoding.beams import Beams, one_hot
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.path_search import path_search


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
        The rollout to read, and the hypotheses of a search: with `beam_width` above 1 or a
        `path_threshold`.

    Raises:
        ValueError: more labels are asked for than can be emitted.
    """
    if decoding.path_threshold is not None:
        beams = path_search(decoder, grid, max_steps, decoding, return_attention)
        return beams.best, beams
    if decoding.beam_width > 1:
        search = open_beam_search if decoding.open_beam else beam_search
        beams = search(decoder, grid, max_steps, decoding, return_attention)
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
        emitted[images] |= one_hot(token, emitted.shape[1])
        return token

    return choose
