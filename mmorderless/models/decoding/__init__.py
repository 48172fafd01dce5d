"""Decoding: from a decoder to emitted labels, greedy or by beam search."""

from mmorderless.models.decoding.beam_search import beam_search, open_beam_search
from mmorderless.models.decoding.beams import Beam, Beams
from mmorderless.models.decoding.emission import Emission, read_rollout
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.path_search import path_search
from mmorderless.models.decoding.prompt import Prompt
from mmorderless.models.decoding.search import decode

__all__ = [
    "Beam",
    "Beams",
    "Decoding",
    "Emission",
    "Prompt",
    "beam_search",
    "decode",
    "open_beam_search",
    "path_search",
    "read_rollout",
]
