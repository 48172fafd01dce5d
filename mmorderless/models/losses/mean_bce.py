"""Binary cross-entropy whose size does not depend on the number of classes."""

from typing import Optional

from mmpretrain.models.losses import CrossEntropyLoss
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class MeanBCELoss(CrossEntropyLoss):
    """Binary cross-entropy of logits, the mean over all B·C entries.

    mmpretrain's `CrossEntropyLoss(use_sigmoid=True)` in a multi-label head divides the sum by the
    number of images B alone, so that the loss, and with it the step, grow with the number of
    classes C.

    Args:
        **kwargs: of mmpretrain's `CrossEntropyLoss`, all but `use_sigmoid`.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(use_sigmoid=True, **kwargs)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Optional[Tensor] = None,
        avg_factor: Optional[float] = None,
        **kwargs,
    ) -> Tensor:
        """Loss of a batch.

        Args:
            cls_score: logits, shape (B, C).
            label: targets in [0, 1], shape (B, C).
            weight: of the images, shape (B,).
            avg_factor: number of images to divide by, as mmpretrain's heads give it; None for B.
            **kwargs: of mmpretrain's `CrossEntropyLoss`.

        Returns:
            A scalar in nats per entry.
        """
        if avg_factor is not None:
            avg_factor = avg_factor * cls_score.shape[1]
        return super().forward(cls_score, label, weight, avg_factor, **kwargs)
