"""The asymmetric loss as its authors train with it."""

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.losses.mean_loss import MeanLoss

SMALLEST = 1e-8
"""Smallest argument of a logarithm."""


@MODELS.register_module()
class DetachedAsymmetricLoss(MeanLoss):
    """Asymmetric loss whose focusing weight is a constant for the gradient.

    Its value is that of mmpretrain's `AsymmetricLoss`: with p = σ(z) and q = min(1 − p + clip, 1),

        −(1 − p)^γ+ · log p  of a positive entry,    −(1 − q)^γ− · log q  of a negative one.

    mmpretrain differentiates the factor before the logarithm too, which makes the gradients of
    negatives up to 5 times as large; Ridnik et al. (ICCV 2021) do not in their own trainings.
    The loss of a label that is true with probability ½ has its rest at p = 0.80 instead of 0.68, so
    that 0.5 is not the threshold of a model trained with it. The authors sum over images and
    classes; this is the mean over all B·C entries.

    Args:
        gamma_pos: focusing of positives γ+.
        gamma_neg: focusing of negatives γ−.
        clip: margin by which the probabilities of negatives are lowered.
        loss_weight: factor on the loss.
    """

    def __init__(
        self,
        gamma_pos: float = 0.0,
        gamma_neg: float = 4.0,
        clip: float = 0.05,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        self.gamma_pos = gamma_pos
        self.gamma_neg = gamma_neg
        self.clip = clip

    def entries(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each entry, shape (B, C)."""
        p = logits.sigmoid()
        q = (1 - p + self.clip).clamp(max=1)
        with torch.no_grad():
            gamma = self.gamma_pos * target + self.gamma_neg * (1 - target)
            focus = (1 - p * target - q * (1 - target)) ** gamma
        log_q = q.clamp(min=SMALLEST).log()
        return -focus * (target * F.logsigmoid(logits) + (1 - target) * log_q)
