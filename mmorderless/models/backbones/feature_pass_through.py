"""Backbone of a config whose inputs are feature maps already."""

from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class FeaturePassThrough(BaseModule):
    """The backbone of cached features: hands its input on as the feature map.

    Used with the dataset `CachedFeatures`, whose inputs are a frozen backbone's maps (B, D, h, w).
    """

    def forward(self, features: Tensor) -> tuple[Tensor]:
        """Return the features as a backbone does, as a tuple of maps."""
        return (features,)
