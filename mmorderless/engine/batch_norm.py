"""Re-estimate batch-norm statistics on training batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice

import torch
from mmengine.dist import all_reduce_params
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.data import DataLoader


def named_statistics(model: nn.Module) -> dict[str, Tensor]:
    """Return the buffers of a model's batch norms by name."""
    return {
        f"{name}.{buffer_name}": buffer
        for name, layer in model.named_modules(remove_duplicate=False)
        if isinstance(layer, _BatchNorm)
        for buffer_name, buffer in layer.named_buffers(recurse=False)
    }


def trained_batch_norms(model: nn.Module) -> dict[str, _BatchNorm]:
    """Return the batch norms in training mode by name."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm) and layer.training
    }


@torch.no_grad()
def estimate_batch_norm(
    model: nn.Module, loader: DataLoader, max_batches: int
) -> dict[str, Tensor]:
    """Estimate the statistics of the batch norms that are in training mode.

    Args:
        model: a classifier of mmpretrain. Its statistics are changed in place.
        loader: training batches, equally many on each process. A smaller last batch is used only
            when there is no other.
        max_batches: most batches to use.

    Returns:
        The layers' buffers by name: mean and (unbiased) variance, averaged over batches and
        processes, and the number of batches.
    """
    layers = trained_batch_norms(model)
    momenta = {name: layer.momentum for name, layer in layers.items()}
    for layer in layers.values():
        layer.reset_running_stats()
        layer.momentum = None  # PyTorch then averages over the batches
    num_batches = min(max_batches, max(1, len(loader.sampler) // loader.batch_size))
    print_log(f"estimating {len(layers)} batch norms on {num_batches} batches", "current")
    for batch in islice(loader, num_batches):
        model.extract_feat(model.data_preprocessor(batch)["inputs"])
    for name, layer in layers.items():
        layer.momentum = momenta[name]
    moments = [m for layer in layers.values() for m in (layer.running_mean, layer.running_var)]
    all_reduce_params(moments, op="mean")
    return {
        f"{name}.{buffer_name}": buffer.clone()
        for name, layer in layers.items()
        for buffer_name, buffer in layer.named_buffers(recurse=False)
    }


@contextmanager
def preserved_modes(model: nn.Module) -> Iterator[None]:
    """Restore each module's training or evaluation mode at the end."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
