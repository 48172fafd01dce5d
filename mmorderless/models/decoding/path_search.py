"""Beam search for models that score each label by a sigmoid: stop by the path's probability.

Letters: B images, K hypotheses an image (the beam's width), C classes.
"""

import math

import torch
import torch.nn.functional as F

from mmorderless.models.decoding.beams import Beam, Beams


@torch.no_grad()
def path_search(beam: Beam) -> Beams:
    """Find the longest paths whose probability reaches the threshold, approximately.

    The probability of a path is the product of its labels' sigmoid probabilities. At each step
    every path is continued by every label, and the K most probable continuations that reach
    `path_threshold` are kept. An image ends where none does; its paths are those of the step
    before, the most probable first. With K = 1 the most probable label alone is continued. Given
    labels have probability 1 in the product.
    """
    decoding, end = beam.decoding, beam.end
    width, threshold = decoding.beam_width, decoding.log_path_threshold
    itself = torch.arange(width, device=beam.first.device)
    ended = torch.zeros_like(beam.first, dtype=torch.bool)  # (B, 1)
    for t in range(beam.max_steps):
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
