"""The learning rate of stochastic weight averaging: it falls four updates long, then jumps back."""

from mmengine.optim import OptimWrapper, _ParamScheduler
from mmpretrain.registry import PARAM_SCHEDULERS

from mmorderless.engine.schedules.updates import after_each_update

CYCLE = 4
"""Updates from one jump to the next. The paper: from 1e-3 to 1e-6 over 3 iterations."""

LOWEST = 1e-3
"""The lowest factor, that of a cycle's last update."""


def sawtooth_factor(update: int) -> float:
    """Return what multiplies the base learning rate at an update (paper, section 4.1).

    1 − (k mod 4) / 3 · (1 − 1e-3): 1, 0.667, 0.334, 0.001, 1, …

    Args:
        update: k, index of the update, counted from 0.
    """
    return 1 - (update % CYCLE) / (CYCLE - 1) * (1 - LOWEST)


@PARAM_SCHEDULERS.register_module()
class SawtoothLR(_ParamScheduler):
    """Multiply each parameter group's base learning rate by `sawtooth_factor`.

    The rate moves on with the optimiser's updates and not, as mmengine's schedulers, with the
    batches: under an accumulation of 4 these would make every update at the lowest rate. It is set
    right after each update, wherever that was made; mmengine's own call after each batch has no
    effect. `lr_mult` and `auto_scale_lr` change the base rates and work unchanged. The rate is
    absolute: schedulers beside this one are overruled.

    Args:
        optimizer: the wrapper whose updates are counted.
        end: mmengine gives every scheduler the length of the training; not used.
    """

    def __init__(self, optimizer: OptimWrapper, end: int | None = None) -> None:
        self.updates = 0  # made so far, so the index of the next one; travels in the checkpoint
        super().__init__(optimizer, "lr", by_epoch=False)
        after_each_update(optimizer, self._after_update)

    def step(self) -> None:
        """Set the rate of the next update; without an update in between, nothing changes."""
        factor = sawtooth_factor(self.updates)
        for group, base_lr in zip(self.optimizer.param_groups, self.base_values):
            group["lr"] = base_lr * factor
        self._last_value = [group["lr"] for group in self.optimizer.param_groups]

    def _after_update(self) -> None:
        self.updates += 1
        self.step()
