"""Alignment: which label belongs to which step (MLA, PLA), exact and batched."""

from mmorderless.alignment.assignment import align_min_loss, align_predicted
from mmorderless.alignment.targets import min_loss_targets, ordered_targets, predicted_label_targets

__all__ = [
    "align_min_loss",
    "align_predicted",
    "min_loss_targets",
    "ordered_targets",
    "predicted_label_targets",
]
