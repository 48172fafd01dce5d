"""The decoder, the losses and the head."""

from .backbones import EfficientNetLite0, FeaturePassThrough
from .decoder import AttentionLSTM, DecoderState, Rollout
from .head import OrderlessRNNHead
from .losses import FixedOrderLoss, MLALoss, PLALoss, sequence_cross_entropy
from .strided_cnn import StridedCNN

__all__ = [
    "AttentionLSTM",
    "DecoderState",
    "EfficientNetLite0",
    "FeaturePassThrough",
    "FixedOrderLoss",
    "MLALoss",
    "OrderlessRNNHead",
    "PLALoss",
    "Rollout",
    "StridedCNN",
    "sequence_cross_entropy",
]
