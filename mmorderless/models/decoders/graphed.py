"""Passes of a module captured as CUDA graphs: one launch instead of a thousand.

A decoder's step is some 40 small kernels, forward and backward. A GPU runs them faster than the
host launches them; a captured pass is launched as a whole.

`torch.cuda.make_graphed_callables` does not serve here. It returns gradients in memory that its
next pass overwrites, and autograd takes them for `param.grad` without a copy, so that accumulated
gradients are wrong; and its capture fails when a data loader pins memory at that time.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import Function, once_differentiable
from torch.func import functional_call


class GraphedPasses:
    """Runs a module's training passes as CUDA graphs, one for each shape it is given.

    All share one memory pool, so the backward pass must come before the next forward pass. Copies,
    and what is loaded from a pickle, start without graphs.
    """

    def __init__(self) -> None:
        self.latest = 0  # number of the latest forward pass
        self._batch = 0
        self._graphs: dict[tuple, _Graph] = {}
        self._pool: Any = None

    def __reduce__(self) -> tuple:
        return GraphedPasses, ()

    def serves(self, module: nn.Module, batch: Tensor) -> bool:
        """Whether a pass is to be captured: in training, and no smaller than those before.

        A smaller batch is an epoch's last, which is not worth a graph.

        Raises:
            ValueError: the batch is not on a CUDA device.
        """
        if not module.training or not torch.is_grad_enabled():
            return False
        if batch.device.type != "cuda":
            raise ValueError(
                f"graphed=True needs a CUDA device, but the features are on {batch.device}; remove "
                "model.head.decoder.graphed"
            )
        self._batch = max(self._batch, len(batch))
        return len(batch) == self._batch

    def __call__(self, module: nn.Module, *inputs: Tensor, **options: Any) -> Tensor:
        """Return `module(*inputs, **options)`, which must be one tensor.

        Args:
            module: its shapes must not depend on the values of the inputs.
            inputs: tensors; gradients flow to them and to the module's parameters.
            options: further arguments; each value has a graph of its own.
        """
        names, parameters = zip(*module.named_parameters())
        device = inputs[0].device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        key = (
            *((x.shape, x.dtype, x.requires_grad) for x in inputs),
            *((x.data_ptr(), x.requires_grad) for x in parameters),
            *options.items(),
            dtype,
        )
        if key not in self._graphs:

            def run(*tensors: Tensor) -> Tensor:
                given = dict(zip(names, tensors[len(inputs) :]))
                # A weight in autocast's cache would keep the value of the capture.
                with torch.autocast(device, dtype, dtype is not None, cache_enabled=False):
                    return functional_call(module, given, tensors[: len(inputs)], options)

            # Not the parameters themselves: DDP has tied their gradients to another stream.
            leaves = [x.detach().clone() for x in inputs] + [x.detach() for x in parameters]
            for leaf, x in zip(leaves, (*inputs, *parameters)):
                leaf.requires_grad_(x.requires_grad)
            self._graphs[key] = _Graph(run, leaves, self._pool)
            self._pool = self._graphs[key].pool
        return _Replay.apply(self, self._graphs[key], *inputs, *parameters)


class _Graph:
    """A captured forward and backward pass.

    Args:
        run: computes one tensor from the leaves.
        leaves: tensors whose memory the graph reads.
        pool: memory pool of earlier graphs; None makes one.
    """

    def __init__(self, run: Callable[..., Tensor], leaves: Sequence[Tensor], pool: Any) -> None:
        self.leaves = leaves
        self.forward, self.backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        self.pool = pool or torch.cuda.graph_pool_handle()
        # `thread_local`: a data loader's thread may pin memory meanwhile.
        capture = partial(torch.cuda.graph, pool=self.pool, capture_error_mode="thread_local")
        sources = [x for x in leaves if x.requires_grad]
        current, side = torch.cuda.current_stream(), torch.cuda.Stream()
        # The backward pass is not under autocast, and no random numbers are used up.
        with torch.random.fork_rng([leaves[0].device]), torch.autocast("cuda", enabled=False):
            side.wait_stream(current)
            with torch.cuda.stream(side):
                for _ in range(3):  # libraries allocate memory in their first calls
                    torch.autograd.grad(run(*leaves).sum(), sources, allow_unused=True)
            current.wait_stream(side)
            with capture(self.forward):
                output = run(*leaves)
            self.output, self.output_gradient = output.detach(), torch.empty_like(output)
            with capture(self.backward):
                found = torch.autograd.grad(
                    output, sources, self.output_gradient, allow_unused=True
                )
        gradients = iter(found)
        self.gradients = [next(gradients) if x.requires_grad else None for x in leaves]


class _Replay(Function):
    """Replays a graph's passes."""

    @staticmethod
    def forward(ctx: Any, passes: GraphedPasses, graph: _Graph, *inputs: Tensor) -> Tensor:
        passes.latest += 1
        ctx.passes, ctx.graph, ctx.number = passes, graph, passes.latest
        for leaf, x in zip(graph.leaves, inputs):
            if leaf.data_ptr() != x.data_ptr():  # a parameter is read where it is
                leaf.copy_(x)
        graph.forward.replay()
        return graph.output.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple:
        if ctx.number != ctx.passes.latest:
            raise ValueError(
                "a graphed decoder ran forward again before its backward pass; run backward after "
                "each forward pass, or remove model.head.decoder.graphed"
            )
        ctx.graph.output_gradient.copy_(gradient)
        ctx.graph.backward.replay()
        # Autograd keeps what it is given, and the next replay overwrites the graph's own.
        return None, None, *(None if g is None else g.clone() for g in ctx.graph.gradients)
