"""Target distribution: softmax cross-entropy to the uniform distribution over the labels.

Pineda, Salvador, Drozdzal, Romero: "Elucidating image-to-set prediction: An analysis of models,
losses and datasets", arXiv 2019.
"""

import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.losses.mean_loss import MeanLoss


@MODELS.register_module()
class TargetDistributionLoss(MeanLoss):
    """−Σ_c t_c log softmax(z)_c with t = y/n, the mean over the images.

    An image without labels has the uniform distribution over all C classes. Decide with
    `DecidedHead(decision=dict(type="MassDecision"))`: the sigmoids of the logits mean nothing.
    """

    def entries(self, logits: Tensor, target: Tensor) -> Tensor:
        """Return the cross-entropy of each image in nats, shape (B,)."""
        count = target.sum(1, keepdim=True)
        share = torch.where(count > 0, target / count, 1 / target.shape[1])
        return -(share * logits.log_softmax(1)).sum(1)
