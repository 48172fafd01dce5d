"""Scores of label sets, pure and as an mmengine metric."""

from . import set_scores
from .label_set_metric import LabelSetMetric

__all__ = ["LabelSetMetric", "set_scores"]
