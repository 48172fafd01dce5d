"""Learning rates by optimiser update."""

from .sawtooth import SawtoothLR, sawtooth_factor
from .updates import after_each_update

__all__ = ["SawtoothLR", "after_each_update", "sawtooth_factor"]
