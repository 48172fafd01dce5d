"""LSEP, log-sum-exp pairwise: a smooth ranking loss over all pairs of a label and a non-label.

Li, Song, Luo: "Improving Pairwise Ranking for Multi-label Image Classification", CVPR 2017.
"""

import math

import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.losses.mean_loss import MeanLoss


def log_sum_exp_pairwise(
    logits: Tensor,
    labels: Tensor,
    positive_temperature: float = 1.0,
    negative_temperature: float = 1.0,
) -> Tensor:
    """Return log(1 + Σ_u Σ_v exp(z_v − z_u)) over the labels u and the other classes v.

    The double sum factors, so that it is computed in O(C), without sampling pairs and without
    overflow, and each factor can have a temperature, as

        softplus(T_n · logsumexp_v(z_v / T_n) + T_p · logsumexp_u(−z_u / T_p)).

    Args:
        logits: z, shape (B, C).
        labels: multi-hot labels, shape (B, C); entries above 0.5 are labels.
        positive_temperature: T_p.
        negative_temperature: T_n.

    Returns:
        Nats, shape (B,); 0 for an image that has no label or all of them.

    >>> import torch
    >>> log_sum_exp_pairwise(torch.tensor([[-0.5, 1, -2, 0.3]]), torch.tensor([[0, 1, 0, 0]]))
    tensor([0.5707])
    """
    is_label = labels > 0.5
    tp, tn = positive_temperature, negative_temperature
    highest = tn * (logits / tn).masked_fill(is_label, -math.inf).logsumexp(1)
    lowest = tp * (-logits / tp).masked_fill(~is_label, -math.inf).logsumexp(1)
    return F.softplus(highest + lowest)


@MODELS.register_module()
class LSEPLoss(MeanLoss):
    """The mean of `log_sum_exp_pairwise` over the images.

    It sees differences of logits only: a number added to all logits of an image changes nothing, so
    that a sigmoid of 0.5 means nothing. Decide with a `DecidedHead`, or choose the threshold on
    held-out images.
    """

    def entries(self, logits: Tensor, target: Tensor) -> Tensor:
        """See `log_sum_exp_pairwise`."""
        return log_sum_exp_pairwise(logits, target)
