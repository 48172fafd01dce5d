"""Decoding: from a decoder to emitted labels, greedy or by beam search."""

from mmorderless.models.decoding.emission import Emission, read_rollout
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.search import Beams, beam_search, decode

__all__ = ["Beams", "Decoding", "Emission", "beam_search", "decode", "read_rollout"]
