"""Features of windows on a grid, in place of region proposals.

B images, R windows, D channels, maps of h×w cells.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from mmorderless.models.heads.features import Features, as_map

SIDES, RATIOS = (1.0, 1 / 2), (1 / 2, 1.0, 2.0)  # 34 windows


def grid_windows(sides: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """Return windows of several sizes and shapes that cover the image.

    A window is √ratio times its side wide and 1/√ratio times high, cut to the image. Windows of a
    shape lie at equal distances of at most half their width and height, from border to border.

    Args:
        sides: shares of the image's side.
        ratios: width divided by height.

    Returns:
        Corners (x₁, y₁, x₂, y₂) in shares of the image, shape (R, 4); the first is the whole image.
    """
    windows = [(0.0, 0.0, 1.0, 1.0)]
    for side in sides:
        for ratio in ratios:
            width, height = (min(1.0, side * root) for root in (ratio**0.5, ratio**-0.5))
            for top in _positions(height):
                windows += [(x, top, x + width, top + height) for x in _positions(width)]
    return torch.tensor(list(dict.fromkeys(windows)))


def _positions(length: float) -> list[float]:
    """Return where intervals of a length begin, at most half a length apart, within [0, 1]."""
    number = math.ceil((1 - length) / (length / 2) - 1e-6) + 1
    return [(1 - length) * k / max(number - 1, 1) for k in range(number)]


def pooling_weights(windows: Tensor, layout: tuple[int, ...], pooled_size: int) -> Tensor:
    """Return the weight of each of a map's L cells in each cell of each pooled window (RoIAlign).

    All images have the same windows, so that one matrix pools them all.

    Args:
        windows: corners in shares of the image, shape (R, 4).
        layout: height and width of the map.
        pooled_size: k, cells of a pooled window's side.

    Returns:
        Weights, shape (R, k², L).
    """
    height, width = layout
    cells = torch.eye(height * width, device=windows.device).view(1, -1, height, width)
    boxes = windows * windows.new_tensor([width, height, width, height])
    pooled = roi_align(cells, [boxes], (pooled_size, pooled_size), aligned=True)  # (R, L, k, k)
    return pooled.flatten(2).transpose(1, 2)


class RegionFeatures(nn.Module):
    """Two hidden layers on each window of a map, as VGG's fc6 and fc7.

    Args:
        in_channels: channels D of the map.
        hidden_size: H of both layers.
        pooled_size: cells of a side that a window is averaged to (RoIAlign).
        dropout: probability of dropout after each layer.
    """

    def __init__(
        self, in_channels: int, hidden_size: int, pooled_size: int, dropout: float
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.pooled_size = pooled_size
        self.register_buffer("windows", grid_windows(SIDES, RATIOS), persistent=False)
        self.fc6 = nn.Linear(in_channels * pooled_size**2, hidden_size)
        self.fc7 = nn.Linear(hidden_size, hidden_size)
        self.dropout = nn.Dropout(dropout)

    def pool(self, feats: Features, whole: bool = False) -> Tensor:
        """Return the windows of the map, (B, R, D·k²); with `whole` the first, (B, 1, D·k²)."""
        maps = as_map(feats, self.in_channels)
        windows = self.windows[:1] if whole else self.windows
        weights = pooling_weights(windows, maps.shape[2:], self.pooled_size)  # (R, k², L)
        return torch.einsum("rkl,bdl->brdk", weights.to(maps.dtype), maps.flatten(2)).flatten(2)

    def forward(self, feats: Features, whole: bool = False) -> Tensor:
        """Return the features of each window, (B, R, H), or with `whole` of the whole image alone.

        They are those before the last dropout.
        """
        hidden = self.dropout(self.fc6(self.pool(feats, whole)).relu())
        return self.fc7(hidden).relu()
