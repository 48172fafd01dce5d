"""Choose a sequence from a decoder's logits: greedy, with constraints, or by beam search.

Letters: B images, C classes, L cells.

All options act on the choice alone: logits and probabilities that are reported are the model's own.
"""

import torch
from torch import Tensor

from mmorderless.models.decoders.base import Choose, LabelDecoder, Rollout
from mmorderless.models.decoding.beam_search import beam_search, open_beam_search
from mmorderless.models.decoding.beams import Beam, Beams, one_hot
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.path_search import path_search
from mmorderless.models.decoding.prompt import Prompt


def decode(
    decoder: LabelDecoder,
    grid: Tensor,
    max_steps: int,
    decoding: Decoding,
    return_attention: bool = False,
    prompt: Prompt | None = None,
) -> tuple[Rollout, Beams | None]:
    """Decode a batch by the options.

    Args:
        decoder: any decoder.
        grid: cells, shape (B, L, D).
        max_steps: maximum number of steps, including END.
        decoding: the options.
        return_attention: keep the attention weights of every step.
        prompt: known labels; the steps that emit given ones are steps like any other.

    Returns:
        The rollout to read, and the hypotheses of a search: with `beam_width` above 1 or a
        `path_threshold`.

    Raises:
        ValueError: more labels are asked for or given than can be emitted.
    """
    if prompt is not None:
        prompt.check_fits(max_steps, decoding.min_labels)
    search = None
    if decoding.path_threshold is not None:
        search = path_search
    elif decoding.beam_width > 1:
        search = open_beam_search if decoding.open_beam else beam_search
    if search is not None:
        beams = search(Beam(decoder, grid, max_steps, decoding, return_attention, prompt))
        return beams.best, beams
    if decoding == Decoding() and prompt is None:  # every choice is the arg max
        return decoder.rollout(grid, max_steps, True, return_attention), None
    num_classes = decoder.vocabulary.num_classes
    decoding.check_fits(num_classes, max_steps)
    emitted = torch.zeros((len(grid), num_classes), dtype=torch.bool, device=grid.device)
    if prompt is not None:
        emitted |= prompt.given
    choose = greedy_choice(decoding, emitted, prompt)
    return decoder.rollout(grid, max_steps, True, return_attention, choose=choose), None


def greedy_choice(decoding: Decoding, emitted: Tensor, prompt: Prompt | None = None) -> Choose:
    """Return the choice of the best token by the options, one step after the other.

    `emitted`, which labels were emitted or given, shape (B, C), bool, is kept up to date.
    """

    def choose(t: int, logits: Tensor, images: Tensor) -> Tensor:
        adjusted = decoding.adjust(logits, emitted[images])
        if prompt is not None:
            adjusted = prompt.force(adjusted, t, images)
        token = adjusted.argmax(1)
        emitted[images] |= one_hot(token, emitted.shape[1])
        return token

    return choose
