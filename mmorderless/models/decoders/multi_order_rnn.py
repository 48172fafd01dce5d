"""The decoder of the multi-order RNN: its cells carry the image's class probabilities.

Letters: as in `attention_rnn`.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.decoders.attention_rnn import AttentionLSTM, RNNState
from mmorderless.models.decoders.image_classifier import ImageClassifierBranch


@MODELS.register_module()
class MultiOrderRNN(AttentionLSTM):
    """Attention LSTM whose cells carry the probabilities of an image-level classifier.

    A linear layer on the mean of the cells predicts all classes, and has a loss of its own. Its
    probabilities are appended to the channels of every cell, so that they enter the initial state
    and the attention. Not as in the authors' code of `MultiOrderLoss`, where the LSTM attends to
    nothing and starts from the probabilities alone, those of a CNN that was trained before.

    Args:
        num_classes: C.
        in_channels: D.
        options: further arguments of `AttentionLSTM`.
    """

    def __init__(self, num_classes: int, in_channels: int, **options: Any) -> None:
        super().__init__(num_classes, in_channels + num_classes, **options)
        self.image_classifier = ImageClassifierBranch(num_classes, in_channels)

    def auxiliary_loss(self, grid: Tensor, labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `loss_image`, the binary cross-entropy of the image-level classifier."""
        return {"loss_image": self.image_classifier.loss(grid, labels)}

    def init_state(self, grid: Tensor) -> RNNState:
        """See `LabelDecoder.init_state`."""
        probabilities = self.image_classifier(grid).sigmoid()[:, None].expand(-1, grid.shape[1], -1)
        return super().init_state(torch.cat([grid, probabilities.to(grid.dtype)], 2))
