"""A classifier on the whole image, whose probabilities inform a decoder.

Letters: B images, L cells with D channels, C classes.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmorderless.models.decoders.base import check_sizes


class ImageClassifierBranch(nn.Module):
    """Class probabilities from the mean of the cells, with a binary cross-entropy of their own.

    Args:
        num_classes: C.
        in_channels: D.

    Raises:
        ValueError: a size is not positive.
    """

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        check_sizes(num_classes=num_classes, in_channels=in_channels)
        self.linear = nn.Linear(in_channels, num_classes)

    def forward(self, grid: Tensor) -> Tensor:
        """Return class logits, shape (B, C), of cells (B, L, D)."""
        return self.linear(grid.mean(1))

    def loss(self, grid: Tensor, labels: Sequence[Tensor]) -> Tensor:
        """Return the binary cross-entropy, a scalar in nats per image and class."""
        logits = self(grid).float()
        truth = label_vectors(labels, logits.shape[1], grid.device)
        return F.binary_cross_entropy_with_logits(logits, truth)


def label_vectors(labels: Sequence[Tensor], num_classes: int, device: torch.device) -> Tensor:
    """Return label sets, the class indices of each image, as vectors of 0 and 1, shape (B, C)."""
    counts = torch.tensor([len(label_set) for label_set in labels])
    image = torch.arange(len(labels)).repeat_interleave(counts).to(device)
    # Clamp: an out-of-range index would crash the CUDA context; the sequence loss reports it.
    label = torch.cat([label_set.long() for label_set in labels]).to(device)
    vectors = torch.zeros(len(labels), num_classes, device=device)
    vectors[image, label.clamp(0, num_classes - 1)] = 1
    return vectors
