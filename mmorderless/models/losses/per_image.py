"""The base class of losses that score an image's logits against its label set as a whole."""

from mmpretrain.models.losses.utils import weight_reduce_loss
from torch import Tensor, nn


class PerImageLoss(nn.Module):
    """Base class of losses of a multi-label head that are one number per image.

    A subclass implements `per_image`. The loss is the mean over the images; it is no sum over the
    classes and is not divided by their number.
    """

    def per_image(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of each image, shape (B,).

        Args:
            logits: shape (B, C), float32.
            labels: multi-hot labels, shape (B, C), float32.
        """
        raise NotImplementedError

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
    ) -> Tensor:
        """Return the loss of a batch, a scalar.

        Args:
            cls_score: logits, shape (B, C).
            label: multi-hot labels, shape (B, C).
            weight: weight of each image, shape (B,).
            avg_factor: number of images to divide by, as mmpretrain's heads pass it; None for B.
        """
        loss = self.per_image(cls_score.float(), label.float())
        return weight_reduce_loss(loss, weight, avg_factor=avg_factor)
