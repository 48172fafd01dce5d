"""Re-estimate batch-norm statistics on training batches."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.dist import get_world_size, is_main_process
from mmpretrain.engine.hooks.precise_bn_hook import update_bn_stats
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


class FeatureExtractor(nn.Module):
    """Adapt a classifier to mmpretrain's `update_bn_stats`, without its head.

    Args:
        model: a classifier of mmpretrain.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.data_preprocessor = model.data_preprocessor

    def forward(self, inputs: Tensor, data_samples: Any = None) -> Any:
        """Extract the features of a preprocessed batch."""
        return self.model.extract_feat(inputs)


def estimate_batch_norm(
    model: nn.Module, loader: DataLoader, max_batches: int
) -> dict[str, Tensor]:
    """Estimate the statistics of the batch norms that are in training mode.

    Args:
        model: a classifier of mmpretrain. Its statistics are changed; their tensors stay the same
            objects.
        loader: training batches, equally many on each process. A smaller last batch is used only
            when there is no other.
        max_batches: most batches to use.

    Returns:
        The layers' buffers by name: mean and (unbiased) variance, averaged over batches and
        processes, and the number of batches.
    """
    buffers, layers = named_statistics(model), trained_batch_norms(model)
    for layer in layers.values():
        layer.reset_running_stats()
    num_batches = min(max_batches, max(1, len(loader.sampler) // loader.batch_size))
    num_samples = num_batches * loader.batch_size * get_world_size()
    try:
        update_bn_stats(FeatureExtractor(model), loader, num_samples, logger="current")
    finally:
        if is_main_process():
            print(flush=True)  # its progress bar does not end its line
    estimates = {
        f"{name}.{buffer_name}": buffer.clone()
        for name, layer in layers.items()
        for buffer_name, buffer in layer.named_buffers(recurse=False)
    }
    # update_bn_stats replaces the tensors, but a distributed wrapper keeps a list of the old ones.
    for name, layer in layers.items():
        for buffer_name, _ in list(layer.named_buffers(recurse=False)):
            setattr(layer, buffer_name, buffers[f"{name}.{buffer_name}"])
    return estimates


@contextmanager
def preserved_modes(model: nn.Module) -> Iterator[None]:
    """Restore each module's training or evaluation mode at the end."""
    modes = {module: module.training for module in model.modules()}
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
