"""CNN-RNN: labels and images in one embedding space.

Wang, Yang, Mao, Huang, Huang, Xu: "CNN-RNN: A Unified Framework for Multi-label Image
Classification", CVPR 2016.

Letters: as in `attention_rnn`; U_l, shape (E, C + 2), holds a column for every token, I is the
image.

    w_t        = U_l[:, token_{t−1}]                     the previous label
    o_t, r_t   = recurrent layer(w_t, o_{t−1}, r_{t−1})  which sees labels only, from zeros
    x_t        = h(U_o o_t + U_I I)                      the image enters here
    logits_t   = U_lᵀ x_t                                over the classes and END
"""

from typing import NamedTuple

import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.models.decoders.base import LabelDecoder, check_sizes


class JointState(NamedTuple):
    """State between two steps.

    Args:
        output: o, shape (B, H).
        cell: r, shape (B, H).
        image: U_I I, computed once per rollout, shape (B, E).
    """

    output: Tensor
    cell: Tensor
    image: Tensor


@MODELS.register_module()
class JointEmbeddingRNN(LabelDecoder):
    """Decoder of CNN-RNN, whose label embedding is both input and classifier.

    As in the paper: the equations above, with no biases, those of the recurrent layer included (its
    Eq. 1); one matrix for both uses; END; the recurrent layer never sees the image; no attention.
    Not as in the paper, or not stated there: I is the mean of the backbone's last map, where the
    paper takes VGG's fully connected layer; the recurrent layer starts from zeros and is the
    standard LSTM, where the paper's uses ReLU in place of tanh and sigmoid, and its gates read r; h
    is ReLU; dropout is applied to x_t, with a new mask at each step.

    Args:
        num_classes: C.
        in_channels: D.
        hidden_size: H.
        embed_size: E, the size of the joint space.
        dropout: probability of dropping an entry of x_t.
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
        self.embedding = nn.Embedding(self.vocabulary.num_inputs, embed_size)  # U_lᵀ
        # With the variance of 1 that PyTorch gives, logits would be √E times larger.
        nn.init.normal_(self.embedding.weight, std=embed_size**-0.5)
        self.lstm = nn.LSTMCell(embed_size, hidden_size, bias=False)
        self.project_output = nn.Linear(hidden_size, embed_size, bias=False)  # U_o
        self.project_image = nn.Linear(in_channels, embed_size, bias=False)  # U_I

    def init_state(self, grid: Tensor) -> JointState:
        """See `LabelDecoder.init_state`."""
        image = self.project_image(grid.mean(1))  # (B, E)
        zeros = image.new_zeros(grid.shape[0], self.lstm.hidden_size)
        return JointState(zeros, zeros, image)

    def step(self, token: Tensor, state: JointState) -> tuple[Tensor, JointState, None]:
        """Decode one step, see `LabelDecoder.step`; there is no attention."""
        output, cell = self.lstm(self.embedding(token), (state.output, state.cell))
        x = F.relu(self.project_output(output) + state.image)  # (B, E)
        x = F.dropout(x, self.dropout, self.training)
        logits = F.linear(x, self.embedding.weight)[:, : self.vocabulary.num_outputs]  # no START
        return logits, JointState(output, cell, state.image), None
