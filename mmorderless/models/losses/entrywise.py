"""The base of losses that treat every image and class by itself."""

import torch
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
        if weight is not None:
            entries = entries * weight[:, None]
        num_images = len(entries) if avg_factor is None else avg_factor
        return self.loss_weight * entries.sum() / (num_images * entries.shape[1])
