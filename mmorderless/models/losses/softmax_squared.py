"""Squared error between a softmax over the classes and the uniform distribution over the labels."""

from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.losses.mean_loss import MeanLoss


@MODELS.register_module()
class SoftmaxSquaredLoss(MeanLoss):
    """Σ_c (softmax(z)_c − y_c / n)², where y / n is 0 for an image without labels."""

    def entries(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each image, shape (B,)."""
        share = target / target.sum(1, keepdim=True).clamp(min=1)
        return (logits.softmax(1) - share).square().sum(1)
