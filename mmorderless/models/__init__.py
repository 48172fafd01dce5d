"""Backbones, necks, decoders, losses, heads and the classifiers."""

from mmorderless.models import backbones, decoders, decoding, heads, losses, necks
from mmorderless.models.classifier import LabelSetClassifier
from mmorderless.models.consistent_classifier import ConsistentClassifier
from mmorderless.models.distilling_classifier import DistillingClassifier
from mmorderless.models.tta import LabelSetTTA

__all__ = [
    "ConsistentClassifier",
    "DistillingClassifier",
    "LabelSetClassifier",
    "LabelSetTTA",
    "backbones",
    "decoders",
    "decoding",
    "heads",
    "losses",
    "necks",
]
