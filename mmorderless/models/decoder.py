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

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..transfer import to_device, to_host
from ..vocabulary import IGNORE, Vocabulary
from .dropout import draw_mask, scale_of
from .packed_rollout import AttentionWeights, PackedRollout, Weights, plan_steps


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
        if self.training and self.dropout > 0:
            grid = grid * draw_mask(grid, self.dropout) * scale_of(self.dropout)
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

    # torch.compile would unroll the loop, once for every number of steps.
    @torch.compiler.disable
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
            until_end: stop as soon as every image has emitted END (on an accelerator up to three
                steps later), and do not decode those that have when they are the most; their
                tokens are END from there on, their logits 0.
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
        if feed is not None:
            feed = torch.where(feed == IGNORE, self.vocabulary.end, feed)
        state = self.init_state(grid)
        weights = self._step_weights(use_table=len(grid) * num_steps)
        token = torch.full((len(grid),), self.vocabulary.start, device=grid.device)  # (B,)
        ended = torch.zeros_like(token, dtype=torch.bool)
        images: Optional[Tensor] = None  # those that are still decoded, (R,); None: all
        steps = []
        # Each look at `ended` waits for an accelerator, so that it does not pay at every step.
        look_every = 1 if grid.device.type == "cpu" else 4
        for t in range(num_steps):
            logits, state, attention = self._step(token, state, weights)
            emitted = logits.detach().argmax(1)
            steps.append((images, logits, emitted, attention if return_attention else None))
            token = emitted if feed is None else feed[:, t]
            if not until_end:
                continue
            ended = ended | (emitted == self.vocabulary.end)
            if (t + 1) % look_every:
                continue
            going = np.flatnonzero(~to_host(ended))
            if len(going) == 0:
                break
            if 2 * len(going) <= len(ended) and feed is None:  # a copy of their cells pays
                kept = to_device(going, grid.device)
                images = kept if images is None else images[kept]
                ended, token = ended[kept], token[kept]
                state = DecoderState(
                    state.hidden[kept],
                    state.cell[kept],
                    None if state.grid is None else state.grid[kept],
                    None if state.keys is None else state.keys[kept],
                )
        logits, tokens, weights_of_cells = self._collect(steps, len(grid))
        return Rollout(logits, tokens, weights_of_cells)

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

    def _collect(
        self, steps: Sequence[tuple[Optional[Tensor], Tensor, Tensor, Optional[Tensor]]], batch: int
    ) -> tuple[Tensor, Tensor, Optional[Tensor]]:
        """Logits (B, T, C + 1), tokens (B, T) and attention (B, T, L) of steps that not every
        image was decoded at: there the token is END, and the rest 0.
        """

        def spread(values: Tensor, images: Optional[Tensor], fill: int = 0) -> Tensor:
            if images is None:
                return values
            full = values.new_full((batch, *values.shape[1:]), fill)
            return full.index_copy(0, images, values)

        end = self.vocabulary.end
        logits = [spread(logits, images) for images, logits, _, _ in steps]
        tokens = [spread(emitted, images, end) for images, _, emitted, _ in steps]
        attention = [spread(cells, images) for images, _, _, cells in steps if cells is not None]
        return (
            torch.stack(logits, 1),
            torch.stack(tokens, 1),
            torch.stack(attention, 1) if attention else None,
        )

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
