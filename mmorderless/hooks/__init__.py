"""Hooks: checks before training, reports after evaluation."""

from .checkpoint_match_hook import CheckpointMatchHook
from .class_names_match_hook import ClassNamesMatchHook
from .label_order_hook import LabelOrderHook
from .label_set_report_hook import LabelSetReportHook

__all__ = ["CheckpointMatchHook", "ClassNamesMatchHook", "LabelOrderHook", "LabelSetReportHook"]
