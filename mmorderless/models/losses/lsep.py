"""LSEP, log-sum-exp pairwise: a smooth ranking loss over all pairs of a label and a non-label.

Li, Song, Luo: "Improving Pairwise Ranking for Multi-label Image Classification", CVPR 2017.
"""

import math

import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.losses.mean_loss import MeanLoss


def log_sum_exp_pairwise(logits: Tensor, labels: Tensor) -> Tensor:
    """Return log(1 + Σ_u Σ_v exp(z_v − z_u)) over the labels u and the other classes v.

    The double sum factors, so that it is computed in O(C) as
    softplus(logsumexp_v z_v + logsumexp_u −z_u), without sampling pairs and without overflow.

    Args:
        logits: z, shape (B, C).
        labels: multi-hot labels, shape (B, C); entries above 0.5 are labels.

    Returns:
        Nats, shape (B,); 0 for an image that has no label or all of them.

    >>> import torch
    >>> log_sum_exp_pairwise(torch.tensor([[-0.5, 1, -2, 0.3]]), torch.tensor([[0, 1, 0, 0]]))
    tensor([0.5707])
    """
    is_label = labels > 0.5
    has_pairs = is_label.any(1) & ~is_label.all(1)
    # Without pairs nothing is masked: a row of −∞ alone would have a NaN gradient.
    highest = logits.masked_fill(is_label & has_pairs[:, None], -math.inf).logsumexp(1)
    lowest = (-logits).masked_fill(~is_label & has_pairs[:, None], -math.inf).logsumexp(1)
    return F.softplus(highest + lowest).masked_fill(~has_pairs, 0)


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
