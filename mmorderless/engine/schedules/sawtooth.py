"""Learning rate for stochastic weight averaging: falls over four updates, then jumps back."""

from mmengine.optim import OptimWrapper, _ParamScheduler
from mmpretrain.registry import PARAM_SCHEDULERS

from mmorderless.engine.schedules.updates import after_each_update

CYCLE = 4
"""Updates per cycle (the paper: from 1e-3 to 1e-6 over 3 iterations)."""

LOWEST = 1e-3
"""Factor at the last update of a cycle."""


def sawtooth_factor(update: int) -> float:
    """Return the factor of the base learning rate at an update (paper, section 4.1).

    1 − (k mod 4) / 3 · (1 − 1e-3): 1, 0.667, 0.334, 0.001, 1, …

    Args:
        update: k, index of the update, counted from 0.
    """
    return 1 - (update % CYCLE) / (CYCLE - 1) * (1 - LOWEST)


@PARAM_SCHEDULERS.register_module()
class SawtoothLR(_ParamScheduler):
    """Multiply each parameter group's base learning rate by `sawtooth_factor`.

    The rate changes with each optimizer update, not with each batch as in mmengine's schedulers,
    which with an accumulation of 4 would make every update at the lowest rate. It is set right
    after each update; mmengine's own call after each batch has no effect. `lr_mult` and
    `auto_scale_lr` change the base rates and work unchanged. Other learning-rate schedulers have no
    effect, since the rate is set absolutely.

    Args:
        optimizer: the wrapper whose updates are counted.
        end: length of the training, which mmengine passes to every scheduler; not used.
    """

    def __init__(self, optimizer: OptimWrapper, end: int | None = None) -> None:
        self.updates = 0  # index of the next update; saved in checkpoints
        super().__init__(optimizer, "lr", by_epoch=False)
        after_each_update(optimizer, self._after_update)

    def step(self) -> None:
        """Set the rate of the next update; has no effect without an update in between."""
        factor = sawtooth_factor(self.updates)
        for group, base_lr in zip(self.optimizer.param_groups, self.base_values):
            group["lr"] = base_lr * factor
        self._last_value = [group["lr"] for group in self.optimizer.param_groups]

    def _after_update(self) -> None:
        self.updates += 1
        self.step()
