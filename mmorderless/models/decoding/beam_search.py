"""Beam search for models with a softmax over the labels and END.

Letters: B images, K hypotheses an image (the beam's width), C classes.
"""

import math

import torch

from mmorderless.models.decoding.beams import Beam, Beams


@torch.no_grad()
def beam_search(beam: Beam) -> Beams:
    """Find the most probable sequences of a batch, approximately.

    At each step every hypothesis is continued by every token, and the K best continuations of an
    image are kept; one that has emitted END stays as it is. Hypotheses that reach `max_steps`
    without END compete as they are. With K = 1 the result is that of greedy decoding.
    """
    width, end = beam.decoding.beam_width, beam.end
    penalty = beam.decoding.length_penalty
    length = torch.zeros_like(beam.log_p)  # tokens with END
    ended = torch.zeros_like(length, dtype=torch.bool)
    stays = torch.full((end + 1,), -math.inf, device=length.device)
    stays[end] = 0  # an ended hypothesis has one continuation, itself
    for _ in range(beam.max_steps):
        steps = torch.where(ended[:, :, None], stays, beam.step().log_softmax(2))
        total = (beam.log_p[:, :, None] + steps).flatten(1)  # (B, K (C + 1))
        grown = length + (~ended).float()
        ranked = total
        if penalty:
            divisor = grown.pow(penalty)[:, :, None].expand_as(steps).flatten(1)
            ranked = total / divisor
        choice = ranked.topk(width, 1).indices if width > 1 else ranked.argmax(1, keepdim=True)
        parent, emission = choice // (end + 1), choice % (end + 1)  # (B, K)
        length, ended = grown.gather(1, parent), ended.gather(1, parent) | (emission == end)
        beam.keep(total.gather(1, choice), parent, emission)
        if beam.all_ended(ended):
            break
    rank = beam.log_p / length.pow(penalty)
    order = rank.argsort(dim=1, descending=True, stable=True)  # (B, K)
    return beam.trace(order, beam.log_p.gather(1, order))


@torch.no_grad()
def open_beam_search(beam: Beam) -> Beams:
    """Find the most probable sequences of a batch, with a beam of open hypotheses (CNN-RNN).

    At each step every open hypothesis is continued by every token. Continuations by END leave the
    beam for the image's K best ended hypotheses, and the K best of the others stay. The search
    stops when all open hypotheses are less probable than the K ended ones, which none can then
    enter, because probabilities only fall. Whether paths that end at a step count in the K of Wang
    et al. (CVPR 2016) is not verified; here they do not. Open hypotheses at `max_steps` compete as
    they are.
    """
    width, end = beam.decoding.beam_width, beam.end
    ended_log_p = torch.full_like(beam.log_p, -math.inf)
    for _ in range(beam.max_steps):
        total = beam.log_p[:, :, None] + beam.step().log_softmax(2)  # (B, K, C + 1)
        ended_log_p, ended = torch.cat([ended_log_p, total[:, :, end]], 1).topk(width, 1)
        # Slots from K on hold the ended hypotheses, those below it the open ones.
        ended = torch.where(ended < width, ended + width, ended - width)
        log_p, choice = total[:, :, :end].flatten(1).topk(width, 1)
        beam.keep(log_p, choice // end, choice % end, ended)
        if beam.all_ended(log_p[:, 0] < ended_log_p[:, -1]):
            break
    log_p, order = torch.cat([beam.log_p, ended_log_p], 1).sort(dim=1, descending=True, stable=True)
    return beam.trace(order[:, :width], log_p[:, :width])
