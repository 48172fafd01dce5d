"""Learning rates by optimizer update."""

from mmorderless.engine.schedules.sawtooth import SawtoothLR, sawtooth_factor
from mmorderless.engine.schedules.updates import after_each_update

__all__ = ["SawtoothLR", "after_each_update", "sawtooth_factor"]
