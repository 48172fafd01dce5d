"""Necks that mmpretrain lacks."""

from mmorderless.models.necks.global_max_pooling import GlobalMaxPooling
from mmorderless.models.necks.stage_fusion import StageFusionNeck

__all__ = ["GlobalMaxPooling", "StageFusionNeck"]
