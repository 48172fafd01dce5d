"""The decoder of the order-free RNN: it is fed class probabilities and the set of emitted labels.

Chen, Chen, Yeh, Wang: "Order-Free RNN with Visual Attention for Multi-Label Classification", AAAI
2018. Letters: as in `attention_rnn`.

    p_0 = sigmoid(linear(mean of the cells))             (B, C), supervised by binary cross-entropy
    x_t = [p_{t−1}, emitted labels as 0 and 1, context(h_{t−1})]    first p_0 and no label
    h_t, c_t = LSTM(x_t, h_{t−1}, c_{t−1})
    p_t = sigmoid(W h_t + b)
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.decoders.attention_rnn import AttentionLSTM, RNNState
from mmorderless.models.decoders.image_classifier import ImageClassifierBranch


@MODELS.register_module()
class OrderFreeRNN(AttentionLSTM):
    """Attention LSTM with two vectors over the classes as its input, in place of an embedding.

    The input is as independent re-implementations of the paper agree; the authors' code was not
    found. Not verified: the initial state and the attention, which are those of `AttentionLSTM`.
    The logit of END is not used.

    Args:
        num_classes: C.
        in_channels: D.
        options: further arguments of `AttentionRNN` except `embed_size`.
    """

    def __init__(self, num_classes: int, in_channels: int, **options: Any) -> None:
        super().__init__(num_classes, in_channels, embed_size=2 * num_classes, **options)
        del self.embedding  # tokens are not embedded
        self.image_classifier = ImageClassifierBranch(num_classes, in_channels)

    def auxiliary_loss(self, grid: Tensor, labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `loss_image`, the binary cross-entropy of the image-level classifier."""
        return {"loss_image": self.image_classifier.loss(grid, labels)}

    def init_state(self, grid: Tensor) -> RNNState:
        """See `LabelDecoder.init_state`; the state feeds back p (R, C) and the emitted labels."""
        probabilities = self.image_classifier(grid).sigmoid()
        fed = probabilities, torch.zeros_like(probabilities)
        return super().init_state(grid)._replace(fed=fed)

    def step(self, token: Tensor, state: RNNState) -> tuple[Tensor, RNNState, Tensor | None]:
        """Decode one step, see `LabelDecoder.step`."""
        num_classes = self.vocabulary.num_classes
        probabilities, emitted = state.fed
        label = F.one_hot(token.clamp(max=num_classes), num_classes + 1)[:, :num_classes]
        emitted = emitted.maximum(label.to(emitted.dtype))  # END and START are no labels
        logits, state, weights = self.advance(torch.cat([probabilities, emitted], 1), state)
        return logits, state._replace(fed=(logits[:, :num_classes].sigmoid(), emitted)), weights
