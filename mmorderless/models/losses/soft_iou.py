"""Soft intersection over union: the overlap of an image's probabilities with its label set.

Pineda, Salvador, Drozdzal, Romero: "Elucidating image-to-set prediction: An analysis of models,
losses and datasets", arXiv 2019.
"""

from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.losses.mean_loss import MeanLoss

EPSILON = 1e-8  # of the authors' code; no labels and no probability are a perfect overlap


@MODELS.register_module()
class SoftIoULoss(MeanLoss):
    """1 − Σ_c p_c y_c / Σ_c (p_c + y_c − p_c y_c) with p = σ(z), the mean over the images.

    With probabilities of 0 and 1 the loss is the Jaccard distance. An image without labels has a
    loss of 1 and next to no gradient unless its probabilities are close to 0.
    """

    def entries(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the Jaccard distance of each image, in [0, 1], shape (B,)."""
        p = logits.sigmoid()
        both = (p * target).sum(1)
        either = (p + target - p * target).sum(1)
        return 1 - (both + EPSILON) / (either + EPSILON)
