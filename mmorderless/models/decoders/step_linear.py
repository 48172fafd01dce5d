"""Linear layers of a recurrent step, with one weight gradient for all steps of a rollout.

With inputs x_t and output gradients g_t, the gradient of a weight is Σ_t g_tᵀ x_t. Autograd forms
each summand, a matrix of the weight's size, and adds them up. Here x_t and g_t are collected, and
the sum is one product, which saves a fifth of the attention LSTM's training time on a CPU.
Gradients of gradients and torch.func are not supported. Letters: R rows (images still decoded).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import Function, once_differentiable


class StepLinear:
    """Applies linear layers at the steps of one rollout: `F.linear` with another backward pass."""

    def __init__(self) -> None:
        self._layers: dict[Tensor, tuple] = {}

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return x Wᵀ + b.

        Args:
            x: shape (R, inputs).
            weight: W, shape (outputs, inputs).
            bias: b, shape (outputs,).
        """
        collects = torch.is_grad_enabled() and weight.requires_grad
        if not collects or torch.compiler.is_compiling():
            return F.linear(x, weight, bias)
        if weight not in self._layers:
            steps: list = []  # of each step: the backward pass, input and output gradient
            self._layers[weight] = (*_SumOverSteps.apply(weight, bias, steps), steps)
        return _LinearOfStep.apply(x, *self._layers[weight])


def to_autocast_type(x: Tensor) -> Tensor:
    """Return x as autocast gives it to a linear layer: once here, rather than at every step."""
    device = x.device.type
    if x.dtype == torch.float32 and torch.is_autocast_enabled(device):
        return x.to(torch.get_autocast_dtype(device))
    return x


class _SumOverSteps(Function):
    """Identity of a weight and a bias. Autograd runs its backward pass after those of all steps."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, steps: list) -> tuple:
        ctx.steps = steps
        ctx.set_materialize_grads(False)
        return tuple(None if x is None else to_autocast_type(x).view_as(x) for x in (weight, bias))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *_: None) -> tuple:
        # A retained graph may hold rows of a pass that did not come here.
        this_pass = torch._C._current_graph_task_id()
        rows = [row for step, *row in ctx.steps if step == this_pass]
        ctx.steps[:] = [(None,)] * len(ctx.steps)
        x, gradient = map(torch.cat, zip(*rows))
        return gradient.T @ x, gradient.sum(0) if ctx.needs_input_grad[1] else None, None


class _LinearOfStep(Function):
    """Linear layer whose backward pass leaves the weight's gradient to `_SumOverSteps`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, steps: list) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.steps, ctx.index = steps, len(steps)
        steps.append((None,))
        return F.linear(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        # With its history x would refer to itself by way of the earlier steps.
        row = x.detach().to(gradient.dtype), gradient
        ctx.steps[ctx.index] = torch._C._current_graph_task_id(), *row
        return gradient @ weight, None, None, None
