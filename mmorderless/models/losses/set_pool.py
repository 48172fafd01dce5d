"""Set pooling: a decoder's steps are pooled into one distribution, so that order does not matter.

Pineda, Salvador, Drozdzal, Romero: "Elucidating image-to-set prediction: An analysis of models,
losses and datasets", arXiv 2019 (`lstmset` and `tfset` of the authors' code).
Letters: B images, C classes, T steps, n_i labels of image i.
"""

import math
from collections.abc import Sequence

import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.alignment.targets import check_finite
from mmorderless.labels.checks import check_labels
from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.decoding.emission import mask_emitted
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.search import greedy_choice
from mmorderless.models.losses.base import SequenceLoss

LARGEST = -1e-7
"""Largest log probability; log(1 − p) and its gradient stay finite."""


def log_rest(log_p: Tensor) -> Tensor:
    """Return log(1 − p) of log probabilities."""
    return torch.log(-torch.expm1(log_p.clamp(max=LARGEST)))


def pooled_label_loss(log_p: Tensor, labels: Tensor) -> Tensor:
    """Return the binary cross-entropy of the pooled probabilities p̄_c = max_{t < n_i} p_tc.

    The order of the first n_i steps has no effect on it.

    Args:
        log_p: log probabilities of the classes at each step, shape (B, T, C).
        labels: which classes are an image's labels, shape (B, C), bool.

    Returns:
        A scalar in nats, the mean over all B·C entries.
    """
    step = torch.arange(log_p.shape[1], device=log_p.device)
    beyond = step >= labels.sum(1, keepdim=True)  # (B, T)
    pooled = log_p.masked_fill(beyond[:, :, None], -math.inf).amax(1)  # (B, C)
    return -torch.where(labels, pooled, log_rest(pooled)).mean()


def balanced_end_loss(log_end: Tensor, num_labels: Tensor) -> Tensor:
    """Return the binary cross-entropy of END: half of it at step n_i, half before.

    The authors intend these halves; in their code the loss is averaged before it is weighted, which
    makes it the plain mean over all steps.

    Args:
        log_end: log probability of END at each step, shape (B, T).
        num_labels: n_i, shape (B,).

    Returns:
        A scalar in nats, the mean over the images.
    """
    step = torch.arange(log_end.shape[1], device=log_end.device)
    n = num_labels[:, None]
    at_end = torch.where(step == n, log_end, 0).sum(1)
    before = torch.where(step < n, log_rest(log_end), 0).sum(1) / num_labels.clamp(min=1)
    return -(at_end + before).mean() / 2


@MODELS.register_module()
class SetPoolLoss(SequenceLoss):
    """Binary cross-entropy of the pooled steps, and one of END, which tells the number of labels.

    The decoder is fed its own arg max. Classes already emitted are masked before the softmax, END
    never; so no class is emitted twice. Decode with `decoding=dict(no_repeat=True)`.

    Args:
        end_weight: factor on the loss of END, which is `loss_end`.
    """

    masks_emitted = True

    def __init__(self, end_weight: float = 0.1) -> None:
        super().__init__()
        self.end_weight = end_weight

    def forward_train(
        self, decoder: LabelDecoder, grid: Tensor, labels: Sequence[Tensor], max_steps: int
    ) -> dict[str, Tensor]:
        """See `SequenceLoss.forward_train`; no label is emitted twice."""
        num_classes = decoder.vocabulary.num_classes
        mask = check_labels(labels, num_classes).mask().to(grid.device)  # (B, C)
        choose = greedy_choice(Decoding(no_repeat=True), torch.zeros_like(mask))
        lengths = [len(label_set) + 1 for label_set in labels]
        logits, tokens, _ = decoder.training_rollout(grid, lengths, choose=choose)
        check_finite(logits, max(lengths) - 1)
        log_p = mask_emitted(logits, tokens).log_softmax(2)
        end_loss = balanced_end_loss(log_p[:, :, num_classes], mask.sum(1))
        return dict(
            loss=pooled_label_loss(log_p[:, :, :num_classes], mask),
            loss_end=self.end_weight * end_loss,
        )
