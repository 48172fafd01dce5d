"""Beam search for models that score each label by a sigmoid: stop by the path's probability.

Letters: B images, K hypotheses an image (the beam's width), C classes.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.decoding.beams import Beam, Beams
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.prompt import Prompt


@torch.no_grad()
def path_search(
    decoder: LabelDecoder,
    grid: Tensor,
    max_steps: int,
    decoding: Decoding,
    return_attention: bool = False,
    prompt: Prompt | None = None,
) -> Beams:
    """Find the longest paths whose probability reaches the threshold, approximately.

    The probability of a path is the product of its labels' sigmoid probabilities. At each step
    every path is continued by every label, and the K most probable continuations that reach
    `path_threshold` are kept. An image ends where none does; its paths are those of the step
    before, the most probable first.

    Args:
        decoder: any decoder.
        grid: cells, shape (B, L, D).
        max_steps: maximum number of steps.
        decoding: the options; `beam_width=1` continues the most probable label alone.
        return_attention: keep the attention weights of the best path.
        prompt: known labels; given ones have probability 1 in the product.

    Raises:
        ValueError: more labels are asked for than can be emitted, or the decoder does not attend.
    """
    beam = Beam(decoder, grid, max_steps, decoding, return_attention, prompt)
    width, end, threshold = decoding.beam_width, beam.end, decoding.log_path_threshold
    itself = torch.arange(width, device=grid.device)
    ended = torch.zeros_like(beam.first, dtype=torch.bool)  # (B, 1)
    for t in range(max_steps):
        steps = F.logsigmoid(beam.step()[:, :, :end])  # masked labels have −∞
        total = (beam.log_p[:, :, None] + steps).flatten(1)  # (B, K C)
        if t >= decoding.min_labels:
            total = total.masked_fill(total < threshold, -math.inf)
        log_p, choice = total.topk(width, 1)
        ended = ended | log_p[:, :1].isneginf()
        beam.keep(
            torch.where(ended, beam.log_p, log_p),
            torch.where(ended, itself, choice // end),
            torch.where(ended, end, choice % end),
        )
        if beam.all_ended(ended):
            break
    order = itself.expand_as(beam.log_p)  # topk has sorted them
    return beam.trace(order, beam.log_p)
