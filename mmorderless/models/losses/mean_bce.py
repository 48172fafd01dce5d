"""Binary cross-entropy whose size does not depend on the number of classes."""

from mmpretrain.models.losses import CrossEntropyLoss
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class MeanBCELoss(CrossEntropyLoss):
    """Binary cross-entropy of logits, the mean over all B·C entries.

    In a multi-label head mmpretrain's `CrossEntropyLoss(use_sigmoid=True)` divides the sum by the
    number of images B only, so that the loss and its gradient grow with the number of classes C.

    Args:
        **kwargs: arguments of mmpretrain's `CrossEntropyLoss` except `use_sigmoid`.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(use_sigmoid=True, **kwargs)

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        **kwargs,
    ) -> Tensor:
        """Return a scalar in nats per entry; the arguments are those of `CrossEntropyLoss`.

        `avg_factor` is the number of images to divide by, as mmpretrain's heads pass it.
        """
        if avg_factor is not None:
            avg_factor = avg_factor * cls_score.shape[1]
        return super().forward(cls_score, label, weight, avg_factor, **kwargs)
