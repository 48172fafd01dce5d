"""What one optimiser update is, for whatever counts updates rather than batches."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from mmengine.optim import OptimWrapper


def after_each_update(optim_wrapper: OptimWrapper, call: Callable[[], None]) -> None:
    """Call a function right after each update that the optimiser makes from now on.

    An update is one call of `OptimWrapper.step`. Under gradient accumulation that is not one a
    batch, and gradients that are left at an epoch's end may be flushed outside of any batch; an
    update that the loss scaler skips for its infinite gradients counts. So neither mmengine's
    `after_train_iter` nor torch's own step hooks see what is meant.

    Args:
        optim_wrapper: its `step` is replaced by one that also calls `call`.
        call: has no arguments.
    """
    step = optim_wrapper.step

    @wraps(step)  # also keeps the mark by which mmengine's schedulers know a counted `step`
    def step_and_call(*args: Any, **kwargs: Any) -> None:
        step(*args, **kwargs)
        call()

    optim_wrapper.step = step_and_call
