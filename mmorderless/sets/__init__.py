"""Probabilities of label sets: a mixture of known sets and independent labels."""

from mmorderless.sets.distribution import EmittedSets, SetDistribution, leave_one_out

__all__ = ["EmittedSets", "SetDistribution", "leave_one_out"]
