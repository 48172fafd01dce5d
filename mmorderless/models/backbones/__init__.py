"""Backbones that mmpretrain lacks."""

from mmorderless.models.backbones.efficientnet_lite0 import EfficientNetLite0
from mmorderless.models.backbones.feature_pass_through import FeaturePassThrough
from mmorderless.models.backbones.model_hub import load_from_model_hub
from mmorderless.models.backbones.strided_cnn import StridedCNN

__all__ = ["EfficientNetLite0", "FeaturePassThrough", "StridedCNN", "load_from_model_hub"]
