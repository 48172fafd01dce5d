"""The paper's decoder with a gated recurrent unit (Cho et al. 2014) in place of the LSTM.

Letters and attention: as in `decoder`.

    h_0       = linear(mean of the cells)
    context_t = sigmoid(W_β h_{t−1}) ⊙ Σ softmax(v · ReLU(W_k f + W_q h_{t−1})) f
    h_t       = GRU([embedding(token_{t−1}), context_t], h_{t−1})
    logits_t  = W h_t + b
"""

from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from .dropout import drop_cells
from .label_decoder import LabelDecoder
from .sizes import check_sizes


class GRUState(NamedTuple):
    """What a step hands to the next.

    Args:
        hidden: h, shape (B, H).
        grid: the cells that are attended to, after dropout, shape (B, L, D); None without
            attention.
        keys: W_k f, computed once per rollout, shape (B, L, A); None without attention.
    """

    hidden: Tensor
    grid: Optional[Tensor]
    keys: Optional[Tensor]


@MODELS.register_module()
class AttentionGRU(LabelDecoder):
    """GRU decoder with additive attention over the cells of a feature map.

    A variant of ours: the paper has the LSTM only. All but the recurrent unit is `AttentionLSTM`'s,
    one dropout mask per image and rollout included; the gradient is autograd's.

    Args:
        num_classes: C.
        in_channels: D.
        hidden_size: H.
        embed_size: E.
        attention_size: A; None switches attention off, and the input is the embedding alone.
        dropout: probability of dropping an entry of the attended cells.

    Raises:
        ValueError: a size is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_size: int = 512,
        embed_size: int = 256,
        attention_size: Optional[int] = 512,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(num_classes)
        check_sizes(in_channels=in_channels, hidden_size=hidden_size, embed_size=embed_size)
        self.dropout = dropout
        self.init_hidden = nn.Linear(in_channels, hidden_size)
        self.embedding = nn.Embedding(self.vocabulary.num_inputs, embed_size)
        self.attends = attention_size is not None
        context_size = 0
        if attention_size is not None:
            check_sizes(attention_size=attention_size)
            context_size = in_channels
            self.key = nn.Linear(in_channels, attention_size)
            self.query = nn.Linear(hidden_size, attention_size, bias=False)  # W_k has the bias
            # Softmax ignores a constant, so the energy has no bias.
            self.energy = nn.Linear(attention_size, 1, bias=False)
            self.gate = nn.Linear(hidden_size, in_channels)
        self.gru = nn.GRUCell(embed_size + context_size, hidden_size)
        self.classifier = nn.Linear(hidden_size, self.vocabulary.num_outputs)

    def init_state(self, grid: Tensor) -> GRUState:
        """State before the first step.

        Args:
            grid: cells, shape (B, L, D).
        """
        hidden = self.init_hidden(grid.mean(1))  # of the pooled cells (B, D), which are not dropped
        if not self.attends:
            return GRUState(hidden, None, None)
        if self.training:
            grid = drop_cells(grid, self.dropout)
        return GRUState(hidden, grid, self.key(grid))

    def step(self, token: Tensor, state: GRUState) -> tuple[Tensor, GRUState, Optional[Tensor]]:
        """Decode one step.

        Args:
            token: what the step before emitted (START at first), shape (B,).
            state: state after the step before.

        Returns:
            Logits (B, C + 1), the new state, and the attention weights (B, L) or None.
        """
        inputs, attention = self.embedding(token), None
        if state.keys is not None and state.grid is not None:
            raised = F.relu(state.keys + self.query(state.hidden)[:, None])  # (B, L, A)
            attention = self.energy(raised).squeeze(2).softmax(1)  # (B, L)
            context = torch.bmm(attention.to(state.grid.dtype)[:, None], state.grid)[:, 0]  # (B, D)
            context = context * self.gate(state.hidden).sigmoid()
            inputs = torch.cat([inputs, context], 1)  # (B, E + D)
        hidden = self.gru(inputs, state.hidden)
        return self.classifier(hidden), state._replace(hidden=hidden), attention

    def reorder(self, state: GRUState, rows: Tensor) -> GRUState:
        """See `LabelDecoder.reorder`; the cells and the keys are the image's."""
        return state._replace(hidden=state.hidden[rows])
