"""A query for each class attends to the cells of a map, beside a hidden layer on their mean.

Letters: B images, L cells F_l of D channels, C classes, G hidden units, M size of a query.

    f̄   = mean of the cells                              (B, D)
    g   = drop(ReLU(W_h drop(f̄) + b_h))                  (B, G)
    k_l = W_k drop(F_l) + b_k                            (B, L, M)   the keys are the values, too
    a_c = softmax over l of q_c · k_l                    (B, C, L)
    r_c = w_c · drop(ReLU(Σ_l a_cl k_l))                 (B, C)
    z   = W_o g + b_o + r                                (B, C)
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmorderless.models.decoders.base import check_sizes
from mmorderless.models.decoders.dropout import drop_entries


class QueriedClasses(NamedTuple):
    """What class queries find in a batch.

    Args:
        logits: z, shape (B, C).
        hidden: g, shape (B, G).
        attention: weights a of the cells for each class, shape (B, C, L).
    """

    logits: Tensor
    hidden: Tensor
    attention: Tensor


class ClassQueries(nn.Module):
    """Class logits from one attention layer and one hidden layer.

    Related to Query2Label (here one layer with one head, and keys without positions) and to CSRA
    (here learned queries instead of the classifier's weights).

    Args:
        num_classes: C.
        in_channels: D.
        hidden_size: G.
        query_size: M.
        dropout: probability of dropping an entry at every `drop` of the equations.

    Raises:
        ValueError: a size is not positive, or the probability is not in [0, 1).
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_size: int = 1024,
        query_size: int = 256,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        check_sizes(in_channels=in_channels, hidden_size=hidden_size, query_size=query_size)
        self.dropout = dropout
        self.hidden = nn.Linear(in_channels, hidden_size)
        self.classifier = nn.Linear(hidden_size, num_classes)
        self.key = nn.Linear(in_channels, query_size)
        self.queries = nn.Parameter(torch.randn(num_classes, query_size) / query_size**0.5)
        self.readout = nn.Parameter(torch.randn(num_classes, query_size) / query_size**0.5)

    def forward(self, cells: Tensor) -> QueriedClasses:
        """Return logits, hidden units and attention for cells (B, L, D)."""
        hidden = self.drop(F.relu(self.hidden(self.drop(cells.mean(1)))))  # (B, G)
        keys = self.key(self.drop(cells))  # (B, L, M)
        attention = (self.queries @ keys.transpose(1, 2)).softmax(2)  # (B, C, L)
        attended = self.drop(F.relu(attention.to(keys.dtype) @ keys))  # (B, C, M)
        logits = self.classifier(hidden) + (attended * self.readout).sum(2)
        return QueriedClasses(logits, hidden, attention)

    def drop(self, values: Tensor) -> Tensor:
        """Apply dropout in training."""
        return drop_entries(values, self.dropout, self.training)
