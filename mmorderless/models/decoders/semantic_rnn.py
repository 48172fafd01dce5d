"""SR CNN-RNN: class probabilities between the CNN and the recurrent net.

Liu, Xiang, Hospedales, Yang, Sun: "Semantic Regularisation for Recurrent Image Annotation",
CVPR 2017.

Letters: as in `decoder`.

    p         = sigmoid(linear(mean of the cells))      (B, C), supervised by binary cross-entropy
    h_0, c_0  = linear(p)
    h_t, c_t  = LSTM(embedding(token_{t−1}), h_{t−1}, c_{t−1})
    logits_t  = W h_t + b
"""

from collections.abc import Sequence
from typing import Optional

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.models.decoders.attention_rnn import AttentionLSTM, DecoderState
from mmorderless.models.decoders.base import LabelDecoder, Rollout, Step, check_sizes


@MODELS.register_module()
class SemanticRNN(LabelDecoder):
    """LSTM decoder that knows of an image what a classifier says of it, and nothing else.

    Faithful: the C class probabilities are the only way from the image to the LSTM, and the only
    way back for the gradient of the sequence's loss; they have a loss of their own; they set the
    LSTM's first state; no attention. Not faithful: one training of all parts from the backbone's
    weights, where they train the parts by themselves first; the classifier is a linear layer on the
    mean of the backbone's last map.

    Args:
        num_classes: C.
        in_channels: D.
        hidden_size: H.
        embed_size: E.
        attention_size: not used, as there is no attention; heads give it to every decoder.
        dropout: not used, as there are no attended cells; likewise.
        semantic_weight: factor on the loss of the class probabilities.

    Raises:
        ValueError: a size is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_size: int = 512,
        embed_size: int = 256,
        attention_size: Optional[int] = None,
        dropout: float = 0.0,
        semantic_weight: float = 1.0,
    ) -> None:
        super().__init__(num_classes)
        check_sizes(in_channels=in_channels)
        self.semantic_weight = semantic_weight
        self.classify = nn.Linear(in_channels, num_classes)
        self.sequence = AttentionLSTM(
            num_classes, num_classes, hidden_size, embed_size, attention_size=None
        )

    # Not compiled: label sets have other lengths in every batch.
    @torch.compiler.disable
    def auxiliary_loss(self, grid: Tensor, labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Binary cross-entropy of the class probabilities.

        Args:
            grid: cells, shape (B, L, D).
            labels: class indices of each image.

        Returns:
            `loss_semantic`, a scalar in nats per image and class.
        """
        scores = self._class_logits(grid)  # (B, C)
        counts = torch.tensor([len(label_set) for label_set in labels])
        image = torch.arange(len(labels)).repeat_interleave(counts).to(scores.device)
        # An index out of range would kill a CUDA context; the sequence's loss names it.
        label = torch.cat([s.long() for s in labels]).to(scores.device)
        label = label.clamp(0, self.vocabulary.num_classes - 1)
        truth = torch.zeros_like(scores, dtype=torch.float32)
        truth[image, label] = 1
        loss = F.binary_cross_entropy_with_logits(scores.float(), truth)
        return {"loss_semantic": self.semantic_weight * loss}

    def init_state(self, grid: Tensor) -> DecoderState:
        """State before the first step.

        Args:
            grid: cells, shape (B, L, D).
        """
        return self.sequence.init_state(self._interface(grid))

    def step(
        self, token: Tensor, state: DecoderState
    ) -> tuple[Tensor, DecoderState, Optional[Tensor]]:
        """As `AttentionLSTM.step`; there is no attention."""
        return self.sequence.step(token, state)

    def stepper(self, num_tokens: int) -> Step:
        """As `AttentionLSTM.stepper`."""
        return self.sequence.stepper(num_tokens)

    def rollout_counted(
        self, grid: Tensor, lengths: Sequence[int], feed: Optional[Tensor] = None
    ) -> Rollout:
        """As `AttentionLSTM.rollout_counted`."""
        return self.sequence.rollout_counted(self._interface(grid), lengths, feed)

    def _class_logits(self, grid: Tensor) -> Tensor:
        return self.classify(grid.mean(1))

    def _interface(self, grid: Tensor) -> Tensor:
        """Class probabilities as a grid of one cell, (B, 1, C)."""
        return self._class_logits(grid).sigmoid()[:, None]
