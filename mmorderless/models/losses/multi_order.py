"""Multi-order RNN: every step scores the labels that remain, whichever comes first.

Dutta, Verma, Jawahar: "Recurrent Image Annotation with Explicit Inter-Label Dependencies", ECCV
2020. Letters: B images, C classes, T steps, n_i labels of image i.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.alignment.targets import check_finite
from mmorderless.labels.checks import check_labels
from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.search import greedy_choice
from mmorderless.models.losses.base import SequenceLoss
from mmorderless.models.losses.remaining_labels import remaining_labels


def remaining_bce(logits: Tensor, remaining: Tensor, num_labels: Tensor) -> Tensor:
    """Return the binary cross-entropy of all classes against the labels that remain, steps t < n_i.

    An image without labels counts one step; otherwise it would not be trained on.

    Args:
        logits: logits of the classes, shape (B, T, C).
        remaining: labels that no earlier step emitted, shape (B, T, C), bool.
        num_labels: n_i, shape (B,).

    Returns:
        A scalar in nats, the mean over counted steps and classes.
    """
    step = torch.arange(logits.shape[1], device=logits.device)
    counted = step < num_labels.clamp(min=1)[:, None]  # (B, T)
    entries = F.binary_cross_entropy_with_logits(
        logits.float(), remaining.float(), reduction="none"
    )
    return (entries.mean(2) * counted).sum() / counted.sum()


@MODELS.register_module()
class MultiOrderLoss(SequenceLoss):
    """Binary cross-entropy against the set of labels that remain; no order and no END to learn.

    The most probable label that was not emitted yet is emitted, right or wrong, so that no label is
    repeated. The decoder's logit of END is not used: decode with
    `decoding=dict(stop_threshold=0.5, no_repeat=True)`. An image without labels counts as one step.
    The loss is the mean over the counted steps of the local batch and the classes.

    Args:
        loss_weight: factor on the loss.
    """

    learns_end = False

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight=loss_weight)

    def forward_train(
        self, decoder: LabelDecoder, grid: Tensor, labels: Sequence[Tensor], max_steps: int
    ) -> dict[str, Tensor]:
        """See `SequenceLoss.forward_train`; no label is emitted twice."""
        num_classes = decoder.vocabulary.num_classes
        lengths = [max(len(label_set), 1) for label_set in labels]
        mask = check_labels(labels, num_classes).mask().to(grid.device)  # (B, C)
        # A label at every step: END is masked until all labels are emitted.
        every_step = Decoding(no_repeat=True, min_labels=num_classes)
        choose = greedy_choice(every_step, torch.zeros_like(mask))
        logits, tokens, _ = decoder.training_rollout(grid, lengths, choose=choose)
        check_finite(logits, max(lengths) - 1)
        remaining = remaining_labels(tokens, mask)  # (B, T, C)
        loss = remaining_bce(logits[:, :, :num_classes], remaining, mask.sum(1))
        return dict(loss=self.loss_weight * loss)
