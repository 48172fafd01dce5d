"""The attention LSTM that emits labels one by one until END (paper, section 3.1), and a GRU.

`base` has the rollout and its letters; H hidden size, A attention size, E embedding size.

    h_0, c_0 = linear(mean of the cells)
    x_t      = [embedding(token_{t−1}), context(h_{t−1})]     see `attention`
    h_t, c_t = LSTM(x_t, h_{t−1}, c_{t−1})                    (Eq. 1, the standard LSTM)
    logits_t = W h_t + b                                      (Eq. 2)

The token that is fed back is the model's own arg max, in training as in testing, unless a loss uses
teacher forcing.
"""

from typing import Any, NamedTuple

import torch
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.models.decoders.attention import AdditiveAttention
from mmorderless.models.decoders.base import LabelDecoder, check_sizes
from mmorderless.models.decoders.dropout import check_drop, drop_entries
from mmorderless.models.decoders.step_linear import StepLinear, to_autocast_type


class RNNState(NamedTuple):
    """State of an attention RNN between two steps.

    Args:
        hidden: h, shape (R, H).
        cell: c, shape (R, H); None for a GRU.
        grid: the cells after dropout, shape (R, L, D); None without attention.
        keys: W_k f, computed once per rollout, shape (R, L, A); None without attention.
        linear: applies the steps' linear layers; shared, so that it can sum their gradients.
        fed: what a subclass feeds back besides the token, tensors (R, …).
    """

    hidden: Tensor
    cell: Tensor | None
    grid: Tensor | None
    keys: Tensor | None
    linear: StepLinear
    fed: tuple[Tensor, ...] = ()


class AttentionRNN(LabelDecoder):
    """Recurrent decoder with additive attention over the cells of a feature map.

    In training, dropout removes channels of the whole map, for the initial state too, which else
    overfits: it comes from the mean of the cells, where masks of single entries average out. The
    paper names no dropout; the authors' code drops entries of the attended cells, with a mask for
    each step. `drop="cells"` does so with one mask for the rollout, so that the keys W_k f are
    computed once, and leaves the initial state alone.

    Args:
        num_classes: C.
        in_channels: D.
        hidden_size: H.
        embed_size: E.
        attention_size: A; None switches attention off, and the input is the embedding alone.
        dropout: probability of dropping a channel, or an entry of a cell.
        drop: `channels` of the whole map, or `cells`: entries of each attended cell.
        graphed: see `LabelDecoder`.

    Raises:
        ValueError: a size is not positive, or `drop` is unknown.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_size: int = 512,
        embed_size: int = 256,
        attention_size: int | None = 512,
        dropout: float = 0.5,
        drop: str = "channels",
        graphed: bool = False,
    ) -> None:
        super().__init__(num_classes, graphed)
        check_sizes(in_channels=in_channels, hidden_size=hidden_size, embed_size=embed_size)
        self.dropout = dropout
        self.drop = check_drop(drop)
        self.init_hidden = nn.Linear(in_channels, hidden_size)
        self.embedding = nn.Embedding(self.vocabulary.num_inputs, embed_size)
        self.attends = attention_size is not None
        self.attention: AdditiveAttention | None = None
        if attention_size is not None:
            check_sizes(attention_size=attention_size)
            self.attention = AdditiveAttention(in_channels, hidden_size, attention_size)
        self.classifier = nn.Linear(hidden_size, self.vocabulary.num_outputs)
        self.hidden_size = hidden_size
        self.input_size = embed_size + (in_channels if self.attends else 0)  # of x_t

    def init_cell_state(self, pooled: Tensor) -> Tensor | None:
        """Return c_0, shape (B, H), from the mean of the cells (B, D); None without a cell."""
        return None

    def recur(self, x: Tensor, state: RNNState) -> tuple[Tensor, Tensor | None]:
        """Return h_t and c_t from x_t and the state."""
        raise NotImplementedError

    def init_state(self, grid: Tensor) -> RNNState:
        """See `LabelDecoder.init_state`."""
        kept = drop_entries(grid, self.dropout, self.training, self.drop)
        pooled = (kept if self.drop == "channels" else grid).mean(1)  # (B, D)
        hidden, cell = self.init_hidden(pooled), self.init_cell_state(pooled)
        if self.attention is None:
            return RNNState(hidden, cell, None, None, StepLinear())
        kept = to_autocast_type(kept)
        return RNNState(hidden, cell, kept, self.attention.key(kept), StepLinear())

    def step(self, token: Tensor, state: RNNState) -> tuple[Tensor, RNNState, Tensor | None]:
        """Decode one step, see `LabelDecoder.step`."""
        return self.advance(self.embedding(token), state)

    def advance(self, x: Tensor, state: RNNState) -> tuple[Tensor, RNNState, Tensor | None]:
        """Attend, update the recurrent state and classify it.

        Args:
            x: the part of the input that does not come from the attention, shape (R, E).
            state: state after the previous step.
        """
        weights = None
        if self.attention is not None:
            context, weights = self.attention(state.hidden, state.grid, state.keys, state.linear)
            x = torch.cat([x.to(context.dtype), context], 1)  # (B, E + D)
        hidden, cell = self.recur(x, state)
        logits = state.linear(hidden, self.classifier.weight, self.classifier.bias)
        return logits, state._replace(hidden=hidden, cell=cell), weights

    def reorder(self, state: RNNState, rows: Tensor) -> RNNState:
        """See `LabelDecoder.reorder`; cells and keys depend on the image alone."""
        cell = None if state.cell is None else state.cell[rows]
        fed = tuple(values[rows] for values in state.fed)
        return state._replace(hidden=state.hidden[rows], cell=cell, fed=fed)


@MODELS.register_module()
class AttentionLSTM(AttentionRNN):
    """The paper's decoder; `AttentionRNN` implements its `step`.

    Args:
        num_classes: C.
        in_channels: D.
        options: further arguments of `AttentionRNN`.
    """

    def __init__(self, num_classes: int, in_channels: int, **options: Any) -> None:
        super().__init__(num_classes, in_channels, **options)
        self.init_cell = nn.Linear(in_channels, self.hidden_size)
        self.lstm = nn.LSTMCell(self.input_size, self.hidden_size)

    def init_cell_state(self, pooled: Tensor) -> Tensor:
        """Return c_0, shape (B, H)."""
        return self.init_cell(pooled)

    def recur(self, x: Tensor, state: RNNState) -> tuple[Tensor, Tensor]:
        """Return h_t and c_t, shape (B, H) each (Eq. 1)."""
        lstm, linear = self.lstm, state.linear
        gates = linear(x, lstm.weight_ih, lstm.bias_ih)
        gates = gates + linear(state.hidden, lstm.weight_hh, lstm.bias_hh)
        i, f, g, o = gates.chunk(4, dim=1)
        assert state.cell is not None
        cell = f.sigmoid() * state.cell + i.sigmoid() * g.tanh()
        return o.sigmoid() * cell.tanh(), cell


@MODELS.register_module()
class AttentionGRU(AttentionRNN):
    """The paper's decoder with a GRU (Cho et al. 2014), a variant of ours.

    Args:
        num_classes: C.
        in_channels: D.
        options: further arguments of `AttentionRNN`.
    """

    def __init__(self, num_classes: int, in_channels: int, **options: Any) -> None:
        super().__init__(num_classes, in_channels, **options)
        self.gru = nn.GRUCell(self.input_size, self.hidden_size)

    def recur(self, x: Tensor, state: RNNState) -> tuple[Tensor, None]:
        """Return h_t, shape (B, H)."""
        gru, linear = self.gru, state.linear
        r_x, z_x, n_x = linear(x, gru.weight_ih, gru.bias_ih).chunk(3, dim=1)
        r_h, z_h, n_h = linear(state.hidden, gru.weight_hh, gru.bias_hh).chunk(3, dim=1)
        z, n = (z_x + z_h).sigmoid(), (n_x + (r_x + r_h).sigmoid() * n_h).tanh()
        return n + z * (state.hidden - n), None
