"""The decoder, the losses and the head."""

from .backbones import EfficientNetLite0, FeaturePassThrough
from .bce_loss import MeanBCELoss
from .classifier import LabelSetClassifier
from .decoder import AttentionLSTM, DecoderState, Rollout
from .head import OrderlessRNNHead
from .losses import FixedOrderLoss, MLALoss, PLALoss, sequence_cross_entropy
from .model_hub import load_from_model_hub
from .strided_cnn import StridedCNN

__all__ = [
    "AttentionLSTM",
    "DecoderState",
    "EfficientNetLite0",
    "FeaturePassThrough",
    "FixedOrderLoss",
    "LabelSetClassifier",
    "MLALoss",
    "MeanBCELoss",
    "OrderlessRNNHead",
    "PLALoss",
    "Rollout",
    "StridedCNN",
    "load_from_model_hub",
    "sequence_cross_entropy",
]
