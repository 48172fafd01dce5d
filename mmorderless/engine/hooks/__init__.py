"""Hooks for checks, weight averaging, exact resume, compilation and reports."""

from mmorderless.engine.hooks.buffer_agreement_hook import BufferAgreementHook
from mmorderless.engine.hooks.checkpoint_match_hook import CheckpointMatchHook
from mmorderless.engine.hooks.class_names_match_hook import ClassNamesMatchHook
from mmorderless.engine.hooks.compile_backbone_hook import CompileBackboneHook
from mmorderless.engine.hooks.deterministic_resume_hook import DeterministicResumeHook
from mmorderless.engine.hooks.finite_loss_hook import FiniteLossHook
from mmorderless.engine.hooks.label_set_report_hook import LabelSetReportHook
from mmorderless.engine.hooks.score_names_hook import ScoreNamesHook
from mmorderless.engine.hooks.swa_hook import SWAHook
from mmorderless.engine.hooks.training_context_hook import TrainingContextHook
from mmorderless.engine.hooks.training_labels_hook import TrainingLabelsHook
from mmorderless.engine.hooks.validate_on_resume_hook import ValidateOnResumeHook
from mmorderless.engine.hooks.whole_checkpoint_hook import WholeCheckpointHook

__all__ = [
    "BufferAgreementHook",
    "CheckpointMatchHook",
    "ClassNamesMatchHook",
    "CompileBackboneHook",
    "DeterministicResumeHook",
    "FiniteLossHook",
    "LabelSetReportHook",
    "SWAHook",
    "ScoreNamesHook",
    "TrainingContextHook",
    "TrainingLabelsHook",
    "ValidateOnResumeHook",
    "WholeCheckpointHook",
]
