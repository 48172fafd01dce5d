"""Additive attention over the cells of a feature map, with a gated context.

Letters: R rows, L cells f with D channels, H hidden size, A attention size.

    e       = v · ReLU(W_k f + W_q h)                 one energy per cell
    context = sigmoid(W_β h) ⊙ Σ softmax(e) f

The energy is that of Bahdanau et al. 2015 and Xu et al. 2015, with ReLU for tanh; the gate that of
Xu et al., for each channel instead of a scalar. Both changes come from the code that the paper's
authors built on.
"""

import torch
from torch import Tensor, nn

from mmorderless.models.decoders.step_linear import StepLinear


class AdditiveAttention(nn.Module):
    """Gated additive attention.

    Args:
        in_channels: D.
        hidden_size: H.
        attention_size: A.
    """

    def __init__(self, in_channels: int, hidden_size: int, attention_size: int) -> None:
        super().__init__()
        self.key = nn.Linear(in_channels, attention_size)
        self.query = nn.Linear(hidden_size, attention_size, bias=False)  # W_k has the bias
        # Softmax ignores a constant, so the energy needs no bias.
        self.energy = nn.Linear(attention_size, 1, bias=False)
        self.gate = nn.Linear(hidden_size, in_channels)

    def forward(
        self, hidden: Tensor, grid: Tensor, keys: Tensor, linear: StepLinear
    ) -> tuple[Tensor, Tensor]:
        """Attend to the cells.

        Args:
            hidden: h, shape (R, H).
            grid: cells, shape (R, L, D).
            keys: W_k f, which does not depend on h: `self.key(grid)`, shape (R, L, A).
            linear: applies `query` and `gate`.

        Returns:
            The gated context (R, D) and the weights of the cells (R, L).
        """
        query = linear(hidden, self.query.weight)
        energy = self.energy((keys + query[:, None]).relu_())[:, :, 0]  # (R, L)
        weights = energy.softmax(1)
        context = torch.bmm(weights.to(grid.dtype)[:, None], grid)[:, 0]  # (R, D)
        gate = linear(hidden, self.gate.weight, self.gate.bias).sigmoid()  # (R, D)
        return context * gate, weights
