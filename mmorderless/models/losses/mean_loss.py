"""The base of losses of multi-label heads."""

import torch
from torch import Tensor, nn


class MeanLoss(nn.Module):
    """Base of losses that are a mean over images, and over classes where these are independent.

    A subclass implements `entries`. The size does not depend on the number of classes; most
    originals of losses with independent classes sum over them.

    Args:
        loss_weight: factor on the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def entries(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each image and class, shape (B, C), or of each image, shape (B,)."""
        raise NotImplementedError

    def forward(self, cls_score: Tensor, label: Tensor, avg_factor: float | None = None) -> Tensor:
        """Return the loss of a batch, computed in float32 at least.

        Args:
            cls_score: logits, shape (B, C).
            label: targets in [0, 1], shape (B, C).
            avg_factor: not used; mmpretrain's heads pass B.

        Returns:
            A scalar, the mean over the entries.
        """
        logits = cls_score.to(torch.promote_types(cls_score.dtype, torch.float32))
        return self.loss_weight * self.entries(logits, label.to(logits.dtype)).mean()
