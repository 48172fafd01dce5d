"""Backbones, necks, decoders, losses, heads and the classifier."""

from mmorderless.models import backbones, decoders, decoding, heads, losses, necks
from mmorderless.models.classifier import LabelSetClassifier

__all__ = ["LabelSetClassifier", "backbones", "decoders", "decoding", "heads", "losses", "necks"]
