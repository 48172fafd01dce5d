"""HydraPlus-style head: attention maps of every stage applied to the maps of every stage.

Letters: B images, C classes; S stages with maps F_1 … F_S, M attention maps a stage, K channels of
a stream, H hidden size.

    A_i    = ReLU(norm(conv 1×1 M of F_i))              of source i, not normalized    (B, M, h, w)
    U_ijm  = A_im ∘ conv 1×1 K of F_j                   for target j, A resized to F_j
    v_ijm  = mean over the cells of conv 3×3 K of U_ijm with norms and ReLUs           (B, K)
    s_ij   = dropout(ReLU(norm(W [v_ij1 … v_ijM])))     a stream, one for each i, j    (B, H)
    z      = dropout(ReLU(norm(W [s_11 … s_SS, dropout(mean(F_S))])))                  (B, H)
    logits = W z + b
"""

from collections.abc import Sequence
from itertools import product

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmorderless.models.decoders.base import check_sizes
from mmorderless.models.heads.batch_norm import BatchNorm
from mmorderless.models.heads.features import Features, as_map
from mmorderless.models.sizes import size_list

STAGES: dict[str | None, tuple[str, ...]] = {
    None: ("attention", "streams", "fusion", "fc"),
    "attention": ("attention", "streams", "stream_classifiers"),
    "fusion": ("fusion", "fc"),
}
"""Parts of the head that a stage trains."""


@MODELS.register_module()
class HydraHead(MultiLabelClsHead):
    """Multi-directional attention in the style of HydraPlus-Net (Liu et al., ICCV 2017).

    The paper sends every attended map through its own copy of the network's remaining blocks; here
    a light stream of two convolutions, shared by the maps of a source, takes their place.

    Args:
        num_classes: C.
        in_channels: channels of the last map.
        side_channels: channels of the maps of the S − 1 stages before, the earliest first.
        num_maps: M.
        stream_channels: K.
        hidden_size: H.
        dropout: probability of dropping an entry of a stream, the main feature or z.
        stage: which part is trained, the other parts being in evaluation mode: `attention` (the
            maps and streams, each stream by a classifier of its own), `fusion` (the layers after
            them), or None for everything, by the loss of the logits.
        **kwargs: arguments of `MultiLabelClsHead`.

    Raises:
        ValueError: the stage is unknown, or a size is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        side_channels: Sequence[int] = (),
        num_maps: int = 8,
        stream_channels: int = 128,
        hidden_size: int = 512,
        dropout: float = 0.5,
        stage: str | None = None,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if stage not in STAGES:
            raise ValueError(
                f"unknown stage {stage!r}; choose one of {', '.join(map(str, STAGES))}"
            )
        check_sizes(num_maps=num_maps, stream_channels=stream_channels, hidden_size=hidden_size)
        self.channels = (*size_list("side_channels", side_channels), in_channels)
        self.stage = stage
        number = len(self.channels)
        self.attention = nn.ModuleList(AttentionMaps(size, num_maps) for size in self.channels)
        self.streams = nn.ModuleList(
            Stream(size, stream_channels, num_maps, 2 ** (number - 1 - j), hidden_size, dropout)
            for _, (j, size) in product(range(number), enumerate(self.channels))
        )
        self.main_dropout = nn.Dropout(dropout)
        self.fusion = dense(number**2 * hidden_size + in_channels, hidden_size, dropout)
        self.fc = nn.Linear(hidden_size, num_classes)
        if stage == "attention":
            self.stream_classifiers = nn.ModuleList(
                nn.Linear(hidden_size, num_classes) for _ in self.streams
            )
        for part in set(STAGES[None]).difference(STAGES[stage]):
            self.get_submodule(part).requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "HydraHead":
        """Set training or evaluation mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in set(STAGES[None]).difference(STAGES[self.stage]):
            self.get_submodule(part).eval()
        return self

    def stream_features(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the features s_ij of all streams, shape (B, H) each, source by source."""
        attention = [layer(x) for layer, x in zip(self.attention, maps)]
        pairs = product(attention, maps)
        return [stream(x, weights) for stream, (weights, x) in zip(self.streams, pairs)]

    def maps_of(self, feats: Features) -> list[Tensor]:
        """Return the maps of the S stages, the earliest first."""
        number = len(self.channels)
        return [as_map(feats, size, i - number) for i, size in enumerate(self.channels)]

    def pre_logits(self, feats: Features) -> Tensor:
        """Return the fused feature z, shape (B, H)."""
        maps = self.maps_of(feats)
        main = self.main_dropout(maps[-1].mean((2, 3)))
        return self.fusion(torch.cat([*self.stream_features(maps), main], 1))

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, shape (B, C); in the stage `attention` the mean over the streams."""
        if self.stage == "attention":
            return torch.stack(self._stream_logits(feats)).mean(0)
        return self.fc(self.pre_logits(feats))

    def loss(self, feats: Features, data_samples: list[DataSample], **kwargs) -> dict:
        """Return the loss of the logits, or in the stage `attention` that of each stream."""
        if self.stage != "attention":
            return super().loss(feats, data_samples, **kwargs)
        return {
            f"loss_stream_{i}": self._get_loss(logits, data_samples, **kwargs)["loss"]
            for i, logits in enumerate(self._stream_logits(feats))
        }

    def _stream_logits(self, feats: Features) -> list[Tensor]:
        features = self.stream_features(self.maps_of(feats))
        return [classify(x) for classify, x in zip(self.stream_classifiers, features)]


class AttentionMaps(nn.Sequential):
    """M attention maps (B, M, h, w) of a map, not below 0 and not normalized."""

    def __init__(self, channels: int, num_maps: int) -> None:
        super().__init__(
            nn.Conv2d(channels, num_maps, 1, bias=False), BatchNorm(num_maps), nn.ReLU()
        )


class Stream(nn.Module):
    """Two convolutions and a dense layer, which read a map under M attention maps.

    The stride of the 3×3 convolution brings the map to the last one's size.
    """

    def __init__(
        self,
        channels: int,
        stream_channels: int,
        num_maps: int,
        stride: int,
        hidden_size: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, stream_channels, 1, bias=False)
        self.convolve = nn.Sequential(
            BatchNorm(stream_channels),
            nn.ReLU(),
            nn.Conv2d(stream_channels, stream_channels, 3, stride, padding=1, bias=False),
            BatchNorm(stream_channels),
            nn.ReLU(),
        )
        self.dense = dense(num_maps * stream_channels, hidden_size, dropout)

    def forward(self, x: Tensor, attention: Tensor) -> Tensor:
        """Return the feature (B, H) of a map (B, D, h, w) under attention maps (B, M, h', w')."""
        return self.dense(self.attend(x, attention).flatten(1))

    def attend(self, x: Tensor, attention: Tensor) -> Tensor:
        """Return what is seen under each attention map, shape (B, M, K)."""
        attention = F.interpolate(attention, x.shape[2:], mode="nearest")
        # A 1×1 convolution without a bias commutes with weights on the cells: one for all maps.
        seen = attention[:, :, None] * self.reduce(x)[:, None]  # (B, M, K, h, w)
        return self.convolve(seen.flatten(0, 1)).mean((2, 3)).unflatten(0, attention.shape[:2])


def dense(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    """Return a linear layer, batch norm, ReLU and dropout."""
    return nn.Sequential(
        nn.Linear(inputs, outputs), BatchNorm(outputs), nn.ReLU(), nn.Dropout(dropout)
    )
