"""Hooks: checks before training, reports after evaluation."""

from .checkpoint_match_hook import CheckpointMatchHook
from .class_names_match_hook import ClassNamesMatchHook
from .deterministic_resume_hook import DeterministicResumeHook
from .label_order_hook import LabelOrderHook
from .label_set_report_hook import LabelSetReportHook
from .swa_hook import SWAHook

__all__ = [
    "CheckpointMatchHook",
    "ClassNamesMatchHook",
    "DeterministicResumeHook",
    "LabelOrderHook",
    "LabelSetReportHook",
    "SWAHook",
]
