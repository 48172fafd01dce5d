"""Count optimizer updates instead of batches."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from mmengine.optim import OptimWrapper


def after_each_update(optim_wrapper: OptimWrapper, call: Callable[[], None]) -> None:
    """Call a function after each optimizer update from now on.

    An update is one call of `OptimWrapper.step`. With gradient accumulation there is not one per
    batch, and the gradients left at an epoch's end may be used outside of any batch; an update that
    the loss scaler skips because of infinite gradients counts. Neither mmengine's
    `after_train_iter` nor PyTorch's step hooks count these.
    """
    step = optim_wrapper.step

    @wraps(step)  # keeps the attribute by which mmengine's schedulers recognize a counted `step`
    def step_and_call(*args: Any, **kwargs: Any) -> None:
        step(*args, **kwargs)
        call()

    optim_wrapper.step = step_and_call
