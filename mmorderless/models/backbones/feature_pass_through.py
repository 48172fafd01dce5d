"""Backbone for inputs that are feature maps."""

from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class FeaturePassThrough(BaseModule):
    """Return the input, a cached feature map, as the features.

    Used with the dataset `CachedFeatures`, whose inputs are a frozen backbone's maps (B, D, h, w).
    """

    def forward(self, features: Tensor) -> tuple[Tensor]:
        """Return the features in a tuple, like every backbone."""
        return (features,)
