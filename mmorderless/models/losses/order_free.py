"""Order-free RNN: every step scores the whole label set.

Chen, Chen, Yeh, Wang: "Order-Free RNN with Visual Attention for Multi-Label Classification", AAAI
2018. Letters: B images, C classes, T steps.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.alignment.targets import check_finite
from mmorderless.labels.checks import check_labels
from mmorderless.models.decoders.base import LabelDecoder
from mmorderless.models.decoding.options import Decoding
from mmorderless.models.decoding.search import greedy_choice
from mmorderless.models.losses.base import SequenceLoss


@MODELS.register_module()
class OrderFreeLoss(SequenceLoss):
    """Binary cross-entropy of every step against the image's full label set.

    Every image has as many steps as the longest label set of the training data, whatever its own
    number of labels. The candidates of a step are the labels not emitted yet; the most probable one
    is emitted, right or wrong, so that no label is repeated. The decoder's logit of END is not
    used: decode with `decoding=dict(path_threshold=0.1, no_repeat=True)`.

    The longest label set is the longest one that any process has seen in training so far, in a
    buffer that checkpoints contain; after an epoch it is that of the training data. The loss is the
    mean over the local batch, the steps and the classes.

    Args:
        loss_weight: factor on the loss.
    """

    learns_end = False

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight=loss_weight)
        self.register_buffer("longest", torch.ones((), dtype=torch.long))

    def forward_train(
        self, decoder: LabelDecoder, grid: Tensor, labels: Sequence[Tensor], max_steps: int
    ) -> dict[str, Tensor]:
        """See `SequenceLoss.forward_train`; no label is emitted twice.

        Raises:
            ValueError: the decoder masks the labels that it has emitted.
        """
        if decoder.masks_emitted:
            raise ValueError(
                f"OrderFreeLoss trains emitted labels, and {type(decoder).__name__} masks them; "
                "set the head's loss to PLALoss, MLALoss, FixedOrderLoss or OCDLoss"
            )
        num_classes = decoder.vocabulary.num_classes
        mask = check_labels(labels, num_classes).mask().to(grid.device)  # (B, C)
        longest = self.longest.clamp(min=max(len(label_set) for label_set in labels))
        if self.training:
            all_reduce(longest, "max")
            self.longest.copy_(longest)
        steps = int(longest)
        # A label at every step: END is masked until all labels are emitted.
        every_step = Decoding(no_repeat=True, min_labels=num_classes)
        choose = greedy_choice(every_step, torch.zeros_like(mask))
        logits = decoder.training_rollout(grid, [steps] * len(labels), choose=choose).logits
        check_finite(logits, steps - 1)
        truth = mask[:, None].expand(-1, steps, -1).float()
        loss = F.binary_cross_entropy_with_logits(logits[:, :, :num_classes].float(), truth)
        return dict(loss=self.loss_weight * loss)
