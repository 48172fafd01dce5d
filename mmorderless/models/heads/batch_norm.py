"""Batch norm that also takes a batch of one image."""

import torch.nn.functional as F
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNorm(_BatchNorm):
    """Batch norm of features (B, D) or maps (B, D, h, w), for layers whose result is one cell.

    With one image such a layer gives a single value per channel, which has no variance, and torch's
    batch norm raises an error, often at the end of the first epoch, whose last batch is what is
    left. Here the running statistics normalize it, and are not updated.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalized features or maps."""
        if self.training and x.numel() == x.shape[1]:
            statistics = self.running_mean, self.running_var
            return F.batch_norm(x, *statistics, self.weight, self.bias, eps=self.eps)
        return super().forward(x)

    def _check_input_dim(self, x: Tensor) -> None:
        pass
