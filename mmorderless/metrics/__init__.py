"""Scores of label sets, rankings and label orders; and as an mmengine metric."""

from mmorderless.metrics import order_statistics, ranking, set_scores
from mmorderless.metrics.label_set_metric import LabelSetMetric

__all__ = ["LabelSetMetric", "order_statistics", "ranking", "set_scores"]
