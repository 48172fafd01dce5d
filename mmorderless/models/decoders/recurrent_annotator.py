"""RIA, the recurrent image annotator: an LSTM that starts from the image.

Jin, Nakayama: "Annotation Order Matters: Recurrent Image Annotator for Arbitrary Length Image
Tagging", ICPR 2016.

Letters: as in `attention_rnn`.

    h_0      = linear(mean of the cells), c_0 = 0
    h_t, c_t = LSTM(embedding(token_{t−1}), h_{t−1}, c_{t−1})
    logits_t = W_2 dropout(ReLU(W_1 h_t + b_1)) + b_2
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.models.decoders.base import LabelDecoder, check_sizes


class AnnotatorState(NamedTuple):
    """State between two steps: h and c, shape (R, H) each."""

    hidden: Tensor
    cell: Tensor


@MODELS.register_module()
class RecurrentAnnotator(LabelDecoder):
    """Decoder of RIA, which sees the image only through its initial hidden state.

    As in the first author's code: the cell starts at 0; the forget gate's bias starts at 1; the
    hidden layer before the output, of H units. The dropout probability of 0.5 is that of the
    author's demo. Not as in the paper: the image is the mean of the backbone's last map, where
    theirs comes from VGG's fully connected layer.

    Args:
        num_classes: C.
        in_channels: D.
        hidden_size: H.
        embed_size: E.
        dropout: probability of dropping a unit of the hidden layer before the output.
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
        dropout: float = 0.5,
        graphed: bool = False,
    ) -> None:
        super().__init__(num_classes, graphed)
        check_sizes(in_channels=in_channels, hidden_size=hidden_size, embed_size=embed_size)
        self.dropout = dropout
        self.init_hidden = nn.Linear(in_channels, hidden_size)
        self.embedding = nn.Embedding(self.vocabulary.num_inputs, embed_size)
        self.lstm = nn.LSTMCell(embed_size, hidden_size)
        for bias, value in ((self.lstm.bias_ih, 1.0), (self.lstm.bias_hh, 0.0)):  # their sum counts
            nn.init.constant_(bias[hidden_size : 2 * hidden_size], value)
        self.hidden_layer = nn.Linear(hidden_size, hidden_size)
        self.classifier = nn.Linear(hidden_size, self.vocabulary.num_outputs)

    def init_state(self, grid: Tensor) -> AnnotatorState:
        """See `LabelDecoder.init_state`."""
        hidden = self.init_hidden(grid.mean(1))
        return AnnotatorState(hidden, torch.zeros_like(hidden))

    def step(self, token: Tensor, state: AnnotatorState) -> tuple[Tensor, AnnotatorState, None]:
        """Decode one step, see `LabelDecoder.step`; there is no attention."""
        state = AnnotatorState(*self.lstm(self.embedding(token), state))
        x = F.dropout(self.hidden_layer(state.hidden).relu(), self.dropout, self.training)
        return self.classifier(x), state, None
