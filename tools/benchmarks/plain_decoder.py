"""Plain decoder: always decodes all steps, and shares nothing between them.

Each step draws a new dropout mask over all cells (as in the authors' code) and recomputes the keys.
Letters as in `models.decoders`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmorderless.models.decoders.attention_rnn import AttentionLSTM


class PlainDecoder:
    """Decode with another decoder's weights.

    Args:
        decoder: its weights, dropout and mode (training or evaluation) are used.
    """

    def __init__(self, decoder: AttentionLSTM) -> None:
        self.decoder = decoder

    def rollout(
        self, grid: Tensor, num_steps: int, feed: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Decode all steps.

        Args:
            grid: cells, shape (B, L, D).
            num_steps: T.
            feed: tokens to feed back instead of the arg max, shape (B, T).

        Returns:
            Logits (B, T, C + 1) and their arg max (B, T).
        """
        own = self.decoder
        attention = own.attention
        assert attention is not None
        pooled = grid.mean(1)
        hidden, cell = own.init_hidden(pooled), own.init_cell(pooled)
        token = torch.full((len(grid),), own.vocabulary.start, device=grid.device)
        logits, tokens = [], []
        for t in range(num_steps):
            cells = F.dropout(grid, own.dropout, own.training)  # (B, L, D)
            keys = attention.key(cells)  # (B, L, A)
            energy = attention.energy(F.relu(keys + attention.query(hidden)[:, None]))[:, :, 0]
            weights = energy.softmax(1)  # (B, L)
            context = torch.bmm(weights[:, None].to(cells.dtype), cells)[:, 0]  # (B, D)
            context = attention.gate(hidden).sigmoid() * context
            hidden, cell = own.lstm(torch.cat([own.embedding(token), context], 1), (hidden, cell))
            logits.append(own.classifier(hidden))
            tokens.append(logits[-1].argmax(1))
            token = tokens[-1] if feed is None else feed[:, t]
        return torch.stack(logits, 1), torch.stack(tokens, 1)
