"""SR CNN-RNN: class probabilities between the CNN and the recurrent net.

Liu, Xiang, Hospedales, Yang, Sun: "Semantic Regularisation for Recurrent Image Annotation",
CVPR 2017.

Letters: as in `attention_rnn`.

    p         = sigmoid(linear(mean of the cells))      (B, C), supervised by binary cross-entropy
    h_0, c_0  = linear(p)
    h_t, c_t  = LSTM(embedding(token_{t−1}), h_{t−1}, c_{t−1})
    logits_t  = W h_t + b
"""

from collections.abc import Sequence

from mmpretrain.registry import MODELS
from torch import Tensor

from mmorderless.models.decoders.attention_rnn import AttentionLSTM, RNNState
from mmorderless.models.decoders.image_classifier import ImageClassifierBranch, label_vectors


@MODELS.register_module()
class SemanticRNN(AttentionLSTM):
    """LSTM decoder that sees an image only through its class probabilities.

    As in the paper: the C class probabilities are the only way from the image to the LSTM, and the
    only way back for the gradient of the sequence's loss; they have a loss of their own; no
    attention; the LSTM may first be trained on the true label vectors in place of the probabilities
    (`pretrain`), then all parts together. Not verified: that the probabilities set the LSTM's first
    state, and everything else. Here the classifier is a linear layer on the mean of the backbone's
    last map.

    Args:
        num_classes: C.
        in_channels: D.
        hidden_size: H.
        embed_size: E.
        semantic_weight: factor on the loss of the class probabilities.
        pretrain: in training, start the LSTM from the vector of an image's true labels, 0 or 1 per
            class. The CNN is then trained by the loss of the probabilities alone, and prediction
            starts from the probabilities as ever.
        graphed: see `LabelDecoder`.

    Raises:
        ValueError: a size is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_size: int = 512,
        embed_size: int = 256,
        semantic_weight: float = 1.0,
        pretrain: bool = False,
        graphed: bool = False,
    ) -> None:
        options = dict(hidden_size=hidden_size, embed_size=embed_size, attention_size=None)
        super().__init__(num_classes, num_classes, graphed=graphed, dropout=0.0, **options)
        self.semantic_weight = semantic_weight
        self.pretrain = pretrain
        self.image_classifier = ImageClassifierBranch(num_classes, in_channels)

    def auxiliary_loss(self, grid: Tensor, labels: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `loss_semantic`, the binary cross-entropy of the class probabilities."""
        return {"loss_semantic": self.semantic_weight * self.image_classifier.loss(grid, labels)}

    def training_grid(self, grid: Tensor, labels: Sequence[Tensor]) -> Tensor:
        """See `LabelDecoder.training_grid`; in pre-training the label vectors, shape (B, 1, C)."""
        if not (self.pretrain and self.training):
            return grid
        return label_vectors(labels, self.vocabulary.num_classes, grid.device)[:, None]

    def init_state(self, grid: Tensor) -> RNNState:
        """Return the state from the class probabilities as one cell, see `training_grid`."""
        if self.pretrain and self.training:
            return super().init_state(grid)
        return super().init_state(self.image_classifier(grid).sigmoid()[:, None])
