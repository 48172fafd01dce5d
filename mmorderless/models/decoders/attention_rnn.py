"""The attention LSTM that emits labels one by one until END (paper, section 3.1).

Letters: B images, C classes, T steps, L cells of the feature map, D its channels, H LSTM size,
A attention size, E embedding size.

    h_0, c_0  = linear(mean of the cells)
    e_t       = v · ReLU(W_k f + W_q h_{t−1})         additive attention, one energy per cell
    context_t = sigmoid(W_β h_{t−1}) ⊙ Σ softmax(e_t) f    (Xu et al. 2015)
    h_t, c_t  = LSTM([embedding(token_{t−1}), context_t], h_{t−1}, c_{t−1})        (Eq. 1)
    logits_t  = W h_t + b                                                         (Eq. 2)

The token fed back is the model's own arg max, in training as in testing, unless the caller forces
another (teacher forcing). Eq. 1 is the standard
LSTM, which `nn.LSTMCell` computes too; its parameters are used here, its kernel is not, because
the part of the gates that depends on the hidden state is computed together with the query and the
context gate.
"""

from collections.abc import Sequence
from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.labels.vocabulary import IGNORE
from mmorderless.models.decoders.base import LabelDecoder, Rollout, Step, check_sizes
from mmorderless.models.decoders.dropout import drop_cells
from mmorderless.models.decoders.packed_rollout import (
    AttentionWeights,
    PackedRollout,
    Weights,
    plan_steps,
)


class DecoderState(NamedTuple):
    """What a step hands to the next.

    Args:
        hidden: h, shape (B, H).
        cell: c, shape (B, H).
        grid: the cells that are attended to, after dropout, shape (B, L, D); None without
            attention.
        keys: W_k f, computed once per rollout, shape (B, L, A); None without attention.
    """

    hidden: Tensor
    cell: Tensor
    grid: Optional[Tensor]
    keys: Optional[Tensor]


class StepWeights(NamedTuple):
    """The decoder's weights as a step uses them.

    Args:
        hidden: all that is linear in h, stacked for one product: gates, query, context gate,
            shape (4 H + A + D, H).
        bias: of the same, shape (4 H + A + D,).
        of_embedding: the gates' weights of the embedding, shape (4 H, E).
        of_context: the gates' weights of the context, shape (4 H, D).
        table: the embedding's part of the gates for every token, shape (C + 2, 4 H); None where
            that is more work than it saves.
    """

    hidden: Tensor
    bias: Tensor
    of_embedding: Tensor
    of_context: Tensor
    table: Optional[Tensor]


@MODELS.register_module()
class AttentionLSTM(LabelDecoder):
    """LSTM decoder with additive attention over the cells of a feature map.

    While training, dropout is applied to the attended cells. It is not in the paper; the authors'
    code draws a mask anew at each step, before the keys. Here one mask is drawn per image and
    rollout, so that the keys W_k f are computed once instead of at every step (about 6 times fewer
    multiplications at 10 steps, 8 times at 20; evaluation is the same).

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
        self.init_cell = nn.Linear(in_channels, hidden_size)
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
        self.lstm = nn.LSTMCell(embed_size + context_size, hidden_size)
        self.classifier = nn.Linear(hidden_size, self.vocabulary.num_outputs)

    def init_state(self, grid: Tensor) -> DecoderState:
        """State before the first step.

        Args:
            grid: cells, shape (B, L, D).
        """
        pooled = grid.mean(1)  # (B, D); not dropped
        hidden, cell = self.init_hidden(pooled), self.init_cell(pooled)
        if not self.attends:
            return DecoderState(hidden, cell, None, None)
        if self.training:
            grid = drop_cells(grid, self.dropout)
        return DecoderState(hidden, cell, grid, self.key(grid))

    def step(
        self, token: Tensor, state: DecoderState
    ) -> tuple[Tensor, DecoderState, Optional[Tensor]]:
        """Decode one step.

        Args:
            token: what the step before emitted (START at first), shape (B,).
            state: state after the step before.

        Returns:
            Logits (B, C + 1), the new state, and the attention weights (B, L) or None.
        """
        return self._step(token, state, self._step_weights())

    def stepper(self, num_tokens: int) -> Step:
        """`step`, with the weights arranged once for a whole rollout.

        Args:
            num_tokens: how many tokens will be fed at most.
        """
        weights = self._step_weights(use_table=num_tokens)
        return lambda token, state: self._step(token, state, weights)

    def reorder(self, state: DecoderState, rows: Tensor) -> DecoderState:
        """See `LabelDecoder.reorder`; the cells and the keys are the image's."""
        return state._replace(hidden=state.hidden[rows], cell=state.cell[rows])

    # Its gradient is written out: there is nothing for torch.compile to trace.
    @torch.compiler.disable
    def rollout_counted(
        self, grid: Tensor, lengths: Sequence[int], feed: Optional[Tensor] = None
    ) -> Rollout:
        """Decode each image for the steps that its loss counts: the rollout of training.

        Args:
            grid: cells, shape (B, L, D).
            lengths: steps of each image, n_i + 1 each; T is the most.
            feed: as in `rollout`.

        Returns:
            As `rollout`; steps beyond an image's length have logits 0 and the token END.
        """
        if feed is not None:
            feed = torch.where(feed == IGNORE, self.vocabulary.end, feed)
        weights = Weights(
            *(self.init_hidden.weight, self.init_hidden.bias),
            *(self.init_cell.weight, self.init_cell.bias),
            self.embedding.weight,
            *(self.lstm.weight_ih, self.lstm.weight_hh, self.lstm.bias_ih, self.lstm.bias_hh),
            *(self.classifier.weight, self.classifier.bias),
        )
        attention: Sequence[Tensor] = ()
        if self.attends:
            attention = AttentionWeights(
                key=self.key.weight,
                key_bias=self.key.bias,
                query=self.query.weight,
                energy=self.energy.weight,
                gate=self.gate.weight,
                gate_bias=self.gate.bias,
            )
        dropout = self.dropout if self.training else 0.0
        plan = plan_steps(lengths, grid.device)
        logits, tokens = PackedRollout.apply(grid, plan, feed, dropout, *weights, *attention)
        return Rollout(logits, tokens, None)

    def _step_weights(self, use_table: int = 0) -> StepWeights:
        """Arrange the weights so that a step needs few products.

        Args:
            use_table: how many tokens will be fed; with that many, or more, input tokens it is
                cheaper to project the embeddings that occur than the whole table.
        """
        weights, biases = [self.lstm.weight_hh], [self.lstm.bias_hh + self.lstm.bias_ih]
        if self.attends:
            weights += [self.query.weight, self.gate.weight]
            biases += [self.query.weight.new_zeros(self.query.out_features), self.gate.bias]
        of_embedding = self.lstm.weight_ih[:, : self.embedding.embedding_dim]
        table = None
        if self.vocabulary.num_inputs <= use_table:
            table = F.linear(self.embedding.weight, of_embedding)
        of_context = self.lstm.weight_ih[:, self.embedding.embedding_dim :]
        return StepWeights(torch.cat(weights), torch.cat(biases), of_embedding, of_context, table)

    def _step(
        self, token: Tensor, state: DecoderState, weights: StepWeights
    ) -> tuple[Tensor, DecoderState, Optional[Tensor]]:
        projected, attention = F.linear(state.hidden, weights.hidden, weights.bias), None
        if weights.table is None:
            gates = F.linear(self.embedding(token), weights.of_embedding)
        else:
            gates = weights.table[token]
        gates = gates + projected[:, : 4 * self.lstm.hidden_size]  # (B, 4 H), as in nn.LSTMCell
        if state.keys is not None and state.grid is not None:
            sizes = [4 * self.lstm.hidden_size, state.keys.shape[2], state.grid.shape[2]]
            _, query, context_gate = projected.split(sizes, 1)
            energy = self.energy((state.keys + query[:, None]).relu_()).squeeze(2)  # (B, L)
            attention = energy.softmax(1)
            context = torch.bmm(attention.to(state.grid.dtype)[:, None], state.grid)[:, 0]  # (B, D)
            gates = gates + F.linear(context * context_gate.sigmoid(), weights.of_context)
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, 1)
        cell = forget_gate.sigmoid() * state.cell + input_gate.sigmoid() * candidate.tanh()
        hidden = output_gate.sigmoid() * cell.tanh()
        state = DecoderState(hidden, cell, state.grid, state.keys)
        return self.classifier(hidden), state, attention


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
