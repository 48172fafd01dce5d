"""Probabilities of label sets: exact and noisy copies of known sets."""

from mmorderless.sets.distribution import EmittedSets, SetDistribution
from mmorderless.sets.likelihood import leave_one_out

__all__ = ["EmittedSets", "SetDistribution", "leave_one_out"]
