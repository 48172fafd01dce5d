"""A Transformer decoder that emits labels one by one until END (Vaswani et al. 2017).

Letters: as in `attention_rnn`, and N heads, S new tokens after P past ones. A is the size of all
heads together.

    f       = LayerNorm(linear(cell))                        once per rollout, with keys, values
    x       = linear(embedding(token_{t−1})) + position(t)   for each token up to t, START first
    x       = x + self-attention(LayerNorm(x))               to the tokens up to its own
    x       = x + cross-attention(LayerNorm(x), f)           to all cells
    x       = x + W_2 ReLU(W_1 LayerNorm(x))                 these three in every layer
    logits  = W LayerNorm(x) + b

A step computes its own token only: the keys and values of the tokens before are kept. Where all
tokens are known beforehand (teacher forcing), all steps are computed together.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.labels.vocabulary import IGNORE
from mmorderless.models.decoders.base import (
    Choose,
    LabelDecoder,
    Rollout,
    check_sizes,
)
from mmorderless.models.decoders.dropout import check_drop, drop_entries
from mmorderless.models.decoders.rows import select

KeysValues = tuple[Tensor, Tensor]
"""Keys and values of the heads, shape (B, N, length, A / N) each."""


class TransformerState(NamedTuple):
    """State between two steps.

    Args:
        past: for each layer, keys and values of the P tokens so far.
        cells: for each layer, keys and values of the L cells.
    """

    past: tuple[KeysValues, ...]
    cells: tuple[KeysValues, ...]


class DecoderLayer(nn.Module):
    """Causal self-attention, cross-attention to the cells and a feed-forward net, each after a
    layer norm and with a residual connection.

    Args:
        hidden_size: H.
        attention_size: A.
        num_heads: N.
        feedforward_size: size of the feed-forward net's hidden layer.
        dropout: probability of dropping an entry of a residual branch.
    """

    def __init__(
        self,
        hidden_size: int,
        attention_size: int,
        num_heads: int,
        feedforward_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = nn.Dropout(dropout)
        self.self_norm = nn.LayerNorm(hidden_size)
        self.self_input = nn.Linear(hidden_size, 3 * attention_size)  # query, key, value
        self.self_output = nn.Linear(attention_size, hidden_size)
        self.cross_norm = nn.LayerNorm(hidden_size)
        self.cross_query = nn.Linear(hidden_size, attention_size)
        self.cross_cells = nn.Linear(hidden_size, 2 * attention_size)  # key, value
        self.cross_output = nn.Linear(attention_size, hidden_size)
        self.feedforward_norm = nn.LayerNorm(hidden_size)
        self.feedforward = nn.Sequential(
            nn.Linear(hidden_size, feedforward_size),
            nn.ReLU(),
            nn.Linear(feedforward_size, hidden_size),
        )

    def project_cells(self, cells: Tensor) -> KeysValues:
        """Return keys and values of cells (B, L, H)."""
        key, value = self.cross_cells(cells).chunk(2, 2)
        return self._heads(key), self._heads(value)

    def forward(
        self, x: Tensor, past: KeysValues, cells: KeysValues
    ) -> tuple[Tensor, KeysValues, Tensor]:
        """Take S new tokens through the layer: one, or all of them when there is no past.

        Args:
            x: the tokens, shape (B, S, H).
            past: keys and values of the P tokens before.
            cells: keys and values of the cells.

        Returns:
            The tokens (B, S, H), keys and values of all P + S tokens, and the weights of the
            cross-attention (B, S, L), their mean over the heads.
        """
        num_new, num_past = x.shape[1], past[0].shape[2]
        assert num_new == 1 or num_past == 0, "the causal mask is for tokens without a past"
        query, key, value = map(self._heads, self.self_input(self.self_norm(x)).chunk(3, 2))
        if num_past > 0:
            key, value = torch.cat([past[0], key], 2), torch.cat([past[1], value], 2)
        seen = F.scaled_dot_product_attention(query, key, value, is_causal=num_new > 1)
        x = x + self.dropout(self.self_output(_join(seen)))

        query = self._heads(self.cross_query(self.cross_norm(x)))
        energy = query @ cells[0].transpose(2, 3) / query.shape[3] ** 0.5  # (B, N, S, L)
        weights = energy.softmax(3)
        seen = weights.to(cells[1].dtype) @ cells[1]
        x = x + self.dropout(self.cross_output(_join(seen)))

        x = x + self.dropout(self.feedforward(self.feedforward_norm(x)))
        return x, (key, value), weights.mean(1)

    def _heads(self, x: Tensor) -> Tensor:
        """From (B, length, A) to (B, N, length, A / N)."""
        return x.unflatten(2, (self.num_heads, -1)).transpose(1, 2)


def _join(heads: Tensor) -> Tensor:
    """From (B, N, length, A / N) to (B, length, A)."""
    return heads.transpose(1, 2).flatten(2)


@MODELS.register_module()
class TransformerLabelDecoder(LabelDecoder):
    """Transformer decoder over the cells of a feature map.

    The paper uses an LSTM. This is not its authors' Transformer of 2022 (Yazici, van de Weijer, Yu:
    "Visual Transformers with Primal Object Queries for Multi-Label Image Classification", ICPR),
    which has object queries and emits no sequence. Choices made here: the layers above in their
    pre-norm form; token embeddings of a size of their own; a layer norm on the
    projected cells; and dropout on the cells, one mask per image and rollout, in addition to a
    Transformer's own.

    Args:
        num_classes: C.
        in_channels: D.
        hidden_size: H, the size of a token within the layers.
        embed_size: E.
        attention_size: A, the size of all heads together; a multiple of `num_heads`.
        dropout: probability of dropping an entry of the cells.
        num_layers: number of layers.
        num_heads: N.
        feedforward_size: size of the feed-forward nets' hidden layer.
        layer_dropout: probability of dropping an entry of the embedded tokens, and of the residual
            branches.
        drop: what `dropout` drops: `cells`, entries of each cell, or `channels`, entries of the
            whole map.
        graphed: see `LabelDecoder`; teacher forcing, which computes all steps together, is not.

    Raises:
        ValueError: a size is not positive, the heads do not share the attention evenly, or `drop`
            is unknown.
    """

    attends = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_size: int = 512,
        embed_size: int = 256,
        attention_size: int | None = 512,
        dropout: float = 0.5,
        num_layers: int = 2,
        num_heads: int = 4,
        feedforward_size: int = 2048,
        layer_dropout: float = 0.1,
        drop: str = "cells",
        graphed: bool = False,
    ) -> None:
        super().__init__(num_classes, graphed)
        check_sizes(
            in_channels=in_channels,
            hidden_size=hidden_size,
            embed_size=embed_size,
            num_layers=num_layers,
            num_heads=num_heads,
            feedforward_size=feedforward_size,
        )
        if attention_size is None or attention_size < 1 or attention_size % num_heads:
            raise ValueError(
                f"attention_size={attention_size} cannot be shared by {num_heads} heads; set it to "
                "a multiple of num_heads"
            )
        self.dropout = dropout
        self.drop = check_drop(drop)
        self.cells = nn.Sequential(nn.Linear(in_channels, hidden_size), nn.LayerNorm(hidden_size))
        self.embedding = nn.Embedding(self.vocabulary.num_inputs, embed_size)
        self.expand = nn.Linear(embed_size, hidden_size, bias=False)  # the position is a bias
        self.token_dropout = nn.Dropout(layer_dropout)
        self.layers = nn.ModuleList(
            DecoderLayer(hidden_size, attention_size, num_heads, feedforward_size, layer_dropout)
            for _ in range(num_layers)
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.classifier = nn.Linear(hidden_size, self.vocabulary.num_outputs)

    def init_state(self, grid: Tensor) -> TransformerState:
        """See `LabelDecoder.init_state`."""
        grid = drop_entries(grid, self.dropout, self.training, self.drop)
        cells = self.cells(grid)  # (B, L, H)
        of_cells = tuple(layer.project_cells(cells) for layer in self.layers)
        past = tuple((keys[:, :, :0], values[:, :, :0]) for keys, values in of_cells)
        return TransformerState(past, of_cells)

    def step(
        self, token: Tensor, state: TransformerState
    ) -> tuple[Tensor, TransformerState, Tensor]:
        """Decode one step, see `LabelDecoder.step`.

        The attention weights are those of the last layer's cross-attention, averaged over heads.
        """
        logits, state, weights = self._decode(token[:, None], state)
        return logits[:, 0], state, weights[:, 0]

    def reorder(self, state: TransformerState, rows: Tensor) -> TransformerState:
        """See `LabelDecoder.reorder`; the cells depend on the image alone."""
        return state._replace(past=select(state.past, rows))

    def training_rollout(
        self,
        grid: Tensor,
        lengths: Sequence[int],
        feed: Tensor | None = None,
        choose: Choose | None = None,
    ) -> Rollout:
        """See `LabelDecoder.training_rollout`; teacher forcing computes all steps together.

        Logits and tokens of steps beyond an image's length are then undefined.
        """
        if feed is None or choose is not None:
            return super().training_rollout(grid, lengths, feed, choose)
        start = feed.new_full((len(feed), 1), self.vocabulary.start)
        feed = torch.where(feed == IGNORE, self.vocabulary.end, feed)
        inputs = torch.cat([start, feed[:, : max(lengths) - 1]], 1)  # (B, T)
        logits, _, _ = self._decode(inputs, self.init_state(grid))
        return Rollout(logits, logits.detach().argmax(2), None)

    def _decode(
        self, tokens: Tensor, state: TransformerState
    ) -> tuple[Tensor, TransformerState, Tensor]:
        """Decode S new tokens (B, S).

        Returns:
            Logits (B, S, C + 1), the new state, and the last layer's weights (B, S, L).
        """
        x = self.expand(self.embedding(tokens))  # (B, S, H)
        start = state.past[0][0].shape[2]
        steps = torch.arange(start, start + tokens.shape[1], device=x.device)
        x = x + sinusoids(steps, x.shape[2]).to(x.dtype)
        x = self.token_dropout(x)
        past = []
        for layer, of_tokens, of_cells in zip(self.layers, state.past, state.cells):
            x, of_tokens, weights = layer(x, of_tokens, of_cells)
            past.append(of_tokens)
        return self.classifier(self.norm(x)), state._replace(past=tuple(past)), weights


def sinusoids(positions: Tensor, size: int) -> Tensor:
    """Encode positions (number,) by sinusoids (Vaswani et al., section 3.5), shape (number, size).

    They are float32, whose frequencies a half-precision type would round.
    """
    frequency = 10_000 ** (-torch.arange(0, size, 2, device=positions.device) / size)
    angle = positions[:, None] * frequency  # (number, size / 2)
    return torch.stack([angle.sin(), angle.cos()], 2).flatten(1)[:, :size]
