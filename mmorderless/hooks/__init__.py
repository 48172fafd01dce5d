"""Hooks: checks before training, reports after evaluation."""

from .buffer_agreement_hook import BufferAgreementHook
from .checkpoint_match_hook import CheckpointMatchHook
from .class_names_match_hook import ClassNamesMatchHook
from .compile_scope_hook import CompileScopeHook
from .deterministic_resume_hook import DeterministicResumeHook
from .label_order_hook import LabelOrderHook
from .label_set_report_hook import LabelSetReportHook
from .swa_hook import SWAHook
from .validate_on_resume_hook import ValidateOnResumeHook

__all__ = [
    "BufferAgreementHook",
    "CheckpointMatchHook",
    "ClassNamesMatchHook",
    "CompileScopeHook",
    "DeterministicResumeHook",
    "LabelOrderHook",
    "LabelSetReportHook",
    "SWAHook",
    "ValidateOnResumeHook",
]
