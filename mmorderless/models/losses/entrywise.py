"""The base of losses that treat every image and class by itself."""

import torch
from mmpretrain.models.losses.utils import weight_reduce_loss
from torch import Tensor, nn


class EntrywiseLoss(nn.Module):
    """Base of losses that are a mean over independent entries, for multi-label heads.

    A subclass implements `entries`. As in `MeanBCELoss` the size does not depend on the number of
    classes; most originals sum over the classes instead.

    Args:
        loss_weight: factor on the loss.
    """

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def entries(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each image and class, shape (B, C)."""
        raise NotImplementedError

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
    ) -> Tensor:
        """Return the loss of a batch, computed in float32 at least.

        Args:
            cls_score: logits, shape (B, C).
            label: targets in [0, 1], shape (B, C).
            weight: weight of each image, shape (B,).
            avg_factor: number of images to divide by, as mmpretrain's heads pass it; None for B.

        Returns:
            A scalar in nats per entry.
        """
        logits = cls_score.to(torch.promote_types(cls_score.dtype, torch.float32))
        entries = self.entries(logits, label.to(logits.dtype))  # (B, C)
        if avg_factor is not None:
            avg_factor = avg_factor * entries.shape[1]
        weight = None if weight is None else weight[:, None]
        return self.loss_weight * weight_reduce_loss(entries, weight, avg_factor=avg_factor)
