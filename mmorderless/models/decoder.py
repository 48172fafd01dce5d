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

from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..vocabulary import IGNORE, Vocabulary


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


class Rollout(NamedTuple):
    """Result of decoding T steps.

    Args:
        logits: shape (B, T, C + 1).
        tokens: arg max of each step, shape (B, T).
        attention: weights over the cells, shape (B, T, L); None unless asked for.
    """

    logits: Tensor
    tokens: Tensor
    attention: Optional[Tensor]


class AttentionLSTM(nn.Module):
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
        super().__init__()
        sizes = {
            "in_channels": in_channels,
            "hidden_size": hidden_size,
            "embed_size": embed_size,
            "attention_size": 1 if attention_size is None else attention_size,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name} must be at least 1, got {size}")
        self.vocabulary = Vocabulary(num_classes)
        self.dropout = dropout
        self.init_hidden = nn.Linear(in_channels, hidden_size)
        self.init_cell = nn.Linear(in_channels, hidden_size)
        self.embedding = nn.Embedding(self.vocabulary.num_inputs, embed_size)
        self.attends = attention_size is not None
        context_size = 0
        if attention_size is not None:
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
        dropped = F.dropout(grid, self.dropout, self.training)
        return DecoderState(hidden, cell, dropped, self.key(dropped))

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
        return self._step(token, state, self._hidden_projection())

    # torch.compile would unroll the loop, once for every number of steps; it gets the step alone.
    @torch.compiler.disable(recursive=False)
    def rollout(
        self,
        grid: Tensor,
        num_steps: int,
        until_end: bool = False,
        return_attention: bool = False,
        feed: Optional[Tensor] = None,
    ) -> Rollout:
        """Decode step by step, feeding back the model's own arg max.

        When an image has emitted END its rollout goes on with END as the input: training needs
        the logits of the steps that were still to come.

        Args:
            grid: cells, shape (B, L, D).
            num_steps: T, the most steps to decode; END counts as one.
            until_end: stop as soon as every image has emitted END.
            return_attention: keep the attention weights of every step.
            feed: tokens to feed back instead of the arg max (teacher forcing), shape (B, T); the
                last is not used, and IGNORE stands for END.

        Raises:
            ValueError: `num_steps` is not positive, or attention is asked of a decoder without.
        """
        if num_steps < 1:
            raise ValueError(f"num_steps must be at least 1 (END is a step), got {num_steps}")
        if return_attention and not self.attends:
            raise ValueError("there is no attention to return: the decoder has attention_size=None")
        state = self.init_state(grid)
        projection = self._hidden_projection()
        token = torch.full((len(grid),), self.vocabulary.start, device=grid.device)  # (B,)
        ended = torch.zeros_like(token, dtype=torch.bool)
        logits, tokens, weights = [], [], []
        if feed is not None:
            feed = torch.where(feed == IGNORE, self.vocabulary.end, feed)
        for t in range(num_steps):
            step_logits, state, attention = self._step(token, state, projection)
            emitted = step_logits.detach().argmax(1)
            token = emitted if feed is None else feed[:, t].contiguous()
            logits.append(step_logits)
            tokens.append(emitted)
            if return_attention and attention is not None:
                weights.append(attention)
            if until_end:
                ended = ended | (emitted == self.vocabulary.end)
                if bool(ended.all()):
                    break
        return Rollout(
            torch.stack(logits, 1),  # (B, T, C + 1)
            torch.stack(tokens, 1),  # (B, T)
            torch.stack(weights, 1) if weights else None,  # (B, T, L)
        )

    def _hidden_projection(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of all that is linear in the hidden state, stacked for one product."""
        weights, biases = [self.lstm.weight_hh], [self.lstm.bias_hh + self.lstm.bias_ih]
        if self.attends:
            weights += [self.query.weight, self.gate.weight]
            biases += [self.query.weight.new_zeros(self.query.out_features), self.gate.bias]
        return torch.cat(weights), torch.cat(biases)

    def _step(
        self, token: Tensor, state: DecoderState, projection: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, DecoderState, Optional[Tensor]]:
        projected = F.linear(state.hidden, *projection)
        inputs, attention = self.embedding(token), None
        if state.keys is not None and state.grid is not None:
            sizes = [4 * self.lstm.hidden_size, state.keys.shape[2], state.grid.shape[2]]
            gates, query, context_gate = projected.split(sizes, 1)
            energy = self.energy((state.keys + query[:, None]).relu()).squeeze(2)  # (B, L)
            attention = energy.softmax(1)
            context = torch.bmm(attention.to(state.grid.dtype)[:, None], state.grid)[:, 0]  # (B, D)
            inputs = torch.cat([inputs, context * context_gate.sigmoid()], 1)
        else:
            gates = projected
        gates = gates + F.linear(inputs, self.lstm.weight_ih)  # (B, 4 H), as in nn.LSTMCell
        input_gate, forget_gate, candidate, output_gate = gates.chunk(4, 1)
        cell = forget_gate.sigmoid() * state.cell + input_gate.sigmoid() * candidate.tanh()
        hidden = output_gate.sigmoid() * cell.tanh()
        state = DecoderState(hidden, cell, state.grid, state.keys)
        return self.classifier(hidden), state, attention
