"""Losses for training sets in which labels are missing: Hill and SPLC.

Youcai Zhang, Yuhao Cheng, Xinyu Huang, Fei Wen, Rui Feng, Yaqian Li, Yandong Guo: "Simple and
Robust Loss Design for Multi-Label Learning with Missing Labels", arXiv 2021. The authors' code sums
over images and classes; these are means over all B·C entries.
"""

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.losses.mean_loss import MeanLoss

MARGIN = 1.0
"""What is subtracted from the logit of a positive."""

GAMMA = 2.0
"""Focusing exponent."""

HILL_TOP = 1.5
"""λ of Hill's negative part (λ − p) p²."""


@MODELS.register_module()
class HillLoss(MeanLoss):
    """Loss that does not push down a negative which the model is sure of, as it may be missing.

    With p = σ(z) and p_m = σ(z − 1): −(1 − p_m)² log p_m of a positive entry, (1.5 − p) p² of a
    negative one, whose gradient is largest at p = ½ and vanishes at p = 1.
    """

    def entries(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each entry, shape (B, C)."""
        p = logits.sigmoid()
        negative = (HILL_TOP - p) * p**2
        return target * focal(logits - MARGIN) + (1 - target) * negative


@MODELS.register_module()
class SPLCLoss(MeanLoss):
    """Focal loss that takes a negative for a missing label once the model is sure enough of it.

    SPLC, self-paced loss correction: the focal loss (γ = 2) whose positives have the margin of
    `HillLoss`. From the second epoch on, a negative whose probability is above the threshold counts
    as a positive, without the margin. `TrainingContextHook` sets `epoch`, in a resumed run as well;
    a loop that counts iterations stays in epoch 0.

    Args:
        threshold: probability τ above which a negative is taken for a missing label; the authors
            use 0.65 where a quarter of the labels is missing.
        loss_weight: factor on the loss.

    Raises:
        ValueError: the threshold is no probability.
    """

    def __init__(self, threshold: float = 0.6, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        if not 0 < threshold < 1:
            raise ValueError(f"threshold must be between 0 and 1, got {threshold}")
        self.threshold = threshold
        self.epoch = 0

    def entries(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each entry, shape (B, C)."""
        logits = logits - MARGIN * target
        if self.epoch > 0:
            target = torch.where(logits.sigmoid() > self.threshold, 1.0, target)
        return target * focal(logits) + (1 - target) * focal(-logits)


def focal(logits: Tensor) -> Tensor:
    """Return the focal loss of positives, −(1 − σ(z))² log σ(z)."""
    return -((-logits).sigmoid() ** GAMMA) * F.logsigmoid(logits)
