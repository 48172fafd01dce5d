"""Parts of heads whose queries attend to the cells of a map: a layer, positions, and the readout.

Letters: B images, L cells, Q queries, K groups, H hidden size, C classes.
"""

import math

import torch
from torch import Tensor, nn

from mmorderless.models.decoders.base import check_sizes
from mmorderless.models.decoders.transformer import sinusoids


class AttentionLayer(nn.Module):
    """Attention to cells and a feed-forward net, each with a residual connection and a layer norm
    after it, as in Vaswani et al. 2017.

    Without self-attention it is a decoder layer; where the queries are the cells, an encoder layer.

    Args:
        hidden_size: H, a multiple of `num_heads`.
        num_heads: number of heads of the attention.
        feedforward_ratio: size of the feed-forward net's hidden layer, in multiples of H.
        dropout: probability of dropping an attention weight, a hidden unit of the feed-forward net,
            or an entry of a residual branch.

    Raises:
        ValueError: a size is not positive, or the heads do not share H evenly.
    """

    def __init__(
        self, hidden_size: int, num_heads: int, feedforward_ratio: float, dropout: float
    ) -> None:
        super().__init__()
        feedforward_size = round(feedforward_ratio * hidden_size)
        check_sizes(hidden_size=hidden_size, num_heads=num_heads, feedforward_size=feedforward_size)
        check_shared("hidden_size", hidden_size, num_heads)
        self.attention = nn.MultiheadAttention(hidden_size, num_heads, dropout, batch_first=True)
        self.attention_norm = nn.LayerNorm(hidden_size)
        self.feedforward = nn.Sequential(
            nn.Linear(hidden_size, feedforward_size),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(feedforward_size, hidden_size),
        )
        self.feedforward_norm = nn.LayerNorm(hidden_size)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, positions: Tensor | float = 0.0
    ) -> Tensor:
        """Return the queries after the layer, shape (B, Q, H).

        Args:
            x: queries, shape (B, Q, H).
            keys: keys of the cells, shape (B, L, H).
            values: values of the cells, shape (B, L, H).
            positions: added to the queries for the attention alone, shape (Q, H).
        """
        seen, _ = self.attention(x + positions, keys, values, need_weights=False)
        x = self.attention_norm(x + self.dropout(seen))
        return self.feedforward_norm(x + self.dropout(self.feedforward(x)))


def check_shared(name: str, size: int, num_heads: int) -> None:
    """Raise a ValueError when the heads of an attention do not share a size evenly."""
    if size % num_heads:
        raise ValueError(
            f"{name}={size} cannot be shared by {num_heads} heads; set it to a multiple of "
            "num_heads"
        )


class GroupLinear(nn.Module):
    """Linear readout in which each group of classes has its own query and its own weights.

    Query k gives the logits of the classes k·g … (k + 1)·g − 1, with g = ⌈C / K⌉. With K = C every
    class has its query: z_c = w_c · q_c + b_c.

    Args:
        num_groups: K.
        hidden_size: H.
        num_classes: C.
    """

    def __init__(self, num_groups: int, hidden_size: int, num_classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(
            torch.empty(num_groups, hidden_size, math.ceil(num_classes / num_groups))
        )
        self.bias = nn.Parameter(torch.zeros(num_classes))
        nn.init.xavier_normal_(self.weight)

    def forward(self, queries: Tensor) -> Tensor:
        """Return the logits (B, C) of queries (B, K, H)."""
        logits = torch.einsum("bkh,khg->bkg", queries, self.weight).flatten(1)  # (B, K·g)
        return logits[:, : len(self.bias)] + self.bias


def cell_positions(layout: tuple[int, ...], size: int, like: Tensor) -> Tensor:
    """Return sinusoidal positions of cells, shape (L, size).

    An axis of n cells has the positions 2π/n … 2π, whatever n is, and an equal share of `size`.

    Args:
        layout: (h, w), or (L,) for tokens.
        size: H, even.
        like: tensor with the wanted device and dtype.
    """
    axes = [torch.arange(1, n + 1, device=like.device) * (2 * math.pi / n) for n in layout]
    positions = torch.cartesian_prod(*axes).view(-1, len(layout))  # (L, axes)
    share = size // len(layout)
    return torch.cat([sinusoids(axis, share) for axis in positions.unbind(1)], 1).to(like.dtype)
