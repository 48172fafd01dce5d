"""Necks that mmpretrain lacks."""

from mmorderless.models.necks.stage_fusion import StageFusionNeck

__all__ = ["StageFusionNeck"]
