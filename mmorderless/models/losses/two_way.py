"""The two-way loss: positives against negatives, within each image and within each class."""

from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.losses.lsep import log_sum_exp_pairwise
from mmorderless.models.losses.mean_loss import MeanLoss


@MODELS.register_module()
class TwoWayLoss(MeanLoss):
    """Softmax-like comparison of positive with negative logits, over classes and over images.

    Takumi Kobayashi: "Two-Way Multi-Label Loss", CVPR 2023. `log_sum_exp_pairwise` compares the
    smallest positives of a set of logits with its largest negatives: once over the classes of each
    image, averaged over the images with a label, and once over the images of the batch for each
    class, averaged over the classes with a positive. The loss is the sum of both means, which are
    no sums over classes and not divided by C. With T_p = T_n = 1 the first is `LSEPLoss` of the
    images with a label.

    A constant added to all logits changes nothing, so that a threshold of 0.5 has no meaning:
    choose it on held-out images. The second mean depends on the batch, and each process has its
    own.

    Args:
        positive_temperature: T_p.
        negative_temperature: T_n.

    Raises:
        ValueError: a temperature is not positive.
    """

    def __init__(
        self, positive_temperature: float = 4.0, negative_temperature: float = 1.0
    ) -> None:
        super().__init__()
        if min(positive_temperature, negative_temperature) <= 0:
            raise ValueError(
                "positive_temperature and negative_temperature must be positive, got "
                f"{positive_temperature} and {negative_temperature}"
            )
        self.positive_temperature = positive_temperature
        self.negative_temperature = negative_temperature

    def entries(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the sum of both means, a scalar in nats; 0 for a batch without any label."""
        positive = target > 0.5
        return self.mean_over_sets(logits, positive) + self.mean_over_sets(logits.T, positive.T)

    def mean_over_sets(self, logits: Tensor, positive: Tensor) -> Tensor:
        """Compare within each row, and average over the rows with a positive.

        Args:
            logits: shape (R, K).
            positive: shape (R, K), bool.
        """
        losses = log_sum_exp_pairwise(
            logits, positive, self.positive_temperature, self.negative_temperature
        )
        return losses.sum() / positive.any(1).sum().clamp(min=1)
