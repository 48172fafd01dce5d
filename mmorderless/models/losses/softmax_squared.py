"""Squared error between a softmax over the classes and the uniform distribution over the labels."""

from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.losses.per_image import PerImageLoss


@MODELS.register_module()
class SoftmaxSquaredLoss(PerImageLoss):
    """Σ_c (softmax(z)_c − y_c / n)², where y / n is 0 for an image without labels."""

    def per_image(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each image, shape (B,)."""
        target = labels / labels.sum(1, keepdim=True).clamp(min=1)
        return (logits.softmax(1) - target).square().sum(1)
