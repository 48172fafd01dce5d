"""SRN's head: an attention map for each label, and the relations of labels, read off these maps.

Letters: B images, C classes; X the side map (B, D', h, w), resampled to a fixed size first; K the
hidden channels.

    cls    = W mean(last map) + b                                               (B, C)
    A      = softmax over the cells of f_att(X)      conv 1×1 K, 3×3 K, 1×1 C   (B, C, h, w)
    S      = conv 1×1 C of X                         confidence maps            (B, C, h, w)
    att    = Σ over the cells of A ∘ S                                          (B, C)
    U      = A ∘ sigmoid(S)                          weighted maps              (B, C, h, w)
    sr     = f_sr(U)                                 see `relation_net`         (B, C)
    logits = (cls + sr) / 2

Every convolution but the last of f_att and S is followed by batch norm and ReLU. `att` trains f_att
and S and does not take part in the prediction.
"""

from collections.abc import Sequence

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
    None: ("fc", "attention", "confidence", "relation"),
    "attention": ("attention", "confidence"),
    "relation": ("relation",),
}
"""Parts of the head that a stage trains."""


@MODELS.register_module()
class SRNHead(MultiLabelClsHead):
    """Spatial regularization (Zhu et al., CVPR 2017) on two stages of a backbone, or on one.

    The linear classifier has the name of `MultiLabelLinearClsHead`'s, so that BCE checkpoints load.
    The frozen parts of a stage are in evaluation mode, batch norm included; freeze the encoder with
    `LabelSetClassifier(freeze_encoder=True)`.

    Args:
        num_classes: C.
        in_channels: channels of the last map.
        side_channels: D', channels of the map of the stage before, which is the side map; None
            takes the last map.
        map_size: (h, w). A side map of another size is averaged to it, or interpolated if smaller.
        hidden_channels: K.
        stage: which part is trained: `attention` (f_att and S, by the loss of att, which is also
            what is predicted), `relation` (f_sr, by the loss of sr), or None for everything, by the
            losses of cls, att and sr.
        joint_loss: whether the loss of the logits takes the place of those of cls and sr, as in the
            paper's text; the authors' code has the three losses.
        **kwargs: arguments of `MultiLabelClsHead`.

    Raises:
        ValueError: the stage is unknown, or a size is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        side_channels: int | None = None,
        map_size: Sequence[int] = (14, 14),
        hidden_channels: int = 512,
        stage: str | None = None,
        joint_loss: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if stage not in STAGES:
            raise ValueError(
                f"unknown stage {stage!r}; choose one of {', '.join(map(str, STAGES))}"
            )
        check_sizes(hidden_channels=hidden_channels)
        self.in_channels = in_channels
        self.side_channels = side_channels
        self.map_size = size_list("map_size", map_size, 2)
        self.stage = stage
        self.joint_loss = joint_loss
        channels = in_channels if side_channels is None else side_channels
        self.fc = nn.Linear(in_channels, num_classes)
        self.attention = nn.Sequential(
            *convolution(channels, hidden_channels, 1),
            *convolution(hidden_channels, hidden_channels, 3, padding=1),
            nn.Conv2d(hidden_channels, num_classes, 1, bias=False),  # the softmax cancels a bias
        )
        self.confidence = nn.Conv2d(channels, num_classes, 1)
        self.relation = relation_net(num_classes, hidden_channels, self.map_size)
        for part in set(STAGES[None]).difference(STAGES[stage]):
            self.get_submodule(part).requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> "SRNHead":
        """Set training or evaluation mode; frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in set(STAGES[None]).difference(STAGES[self.stage]):
            self.get_submodule(part).eval()
        return self

    def pre_logits(self, feats: Features) -> tuple[Tensor, Tensor]:
        """Return the pooled last map (B, D) and the side map (B, D', h, w)."""
        last = as_map(feats, self.in_channels)
        side = last if self.side_channels is None else as_map(feats, self.side_channels, -2)
        return last.mean((2, 3)), resample(side, self.map_size)

    def branches(self, feats: Features) -> tuple[Tensor, Tensor, Tensor]:
        """Return the logits cls, att and sr, shape (B, C) each."""
        pooled, side = self.pre_logits(feats)
        att, weighted = attend(self.attention(side), self.confidence(side))
        return self.fc(pooled), att, self.relation(weighted)

    def forward(self, feats: Features) -> Tensor:
        """Return the logits that prediction reads, shape (B, C)."""
        cls, att, sr = self.branches(feats)
        return att if self.stage == "attention" else (cls + sr) / 2

    def loss(self, feats: Features, data_samples: list[DataSample], **kwargs) -> dict:
        """Return the losses of the stage by their names."""
        cls, att, sr = self.branches(feats)
        if self.stage == "attention":
            logits = dict(loss_att=att)
        elif self.stage == "relation":
            logits = dict(loss_sr=sr)
        elif self.joint_loss:
            logits = dict(loss=(cls + sr) / 2, loss_att=att)
        else:
            logits = dict(loss_cls=cls, loss_att=att, loss_sr=sr)
        return {
            name: self._get_loss(value, data_samples, **kwargs)["loss"]
            for name, value in logits.items()
        }


def attend(attention: Tensor, confidence: Tensor) -> tuple[Tensor, Tensor]:
    """Weight confidence maps by attention.

    Args:
        attention: attention maps before the softmax, shape (B, C, h, w).
        confidence: confidence maps S, shape (B, C, h, w).

    Returns:
        The logits att, shape (B, C), and the weighted maps U, shape (B, C, h, w).
    """
    weights = attention.flatten(2).softmax(2).view_as(attention)
    return (weights * confidence).sum((2, 3)), weights * confidence.sigmoid()


def resample(side: Tensor, size: tuple[int, ...]) -> Tensor:
    """Average a map (B, D, h, w) to a size, or interpolate where it is smaller."""
    if side.shape[2] < size[0] or side.shape[3] < size[1]:
        return F.interpolate(side, size, mode="bilinear", align_corners=False)
    return F.adaptive_avg_pool2d(side, size)


def convolution(inputs: int, outputs: int, size: int | tuple[int, ...], **options) -> list:
    """Return a convolution without a bias, batch norm and ReLU."""
    layer = nn.Conv2d(inputs, outputs, size, bias=False, **options)
    return [layer, BatchNorm(outputs), nn.ReLU()]


def relation_net(num_classes: int, hidden: int, map_size: tuple[int, ...]) -> nn.Sequential:
    """Build f_sr: two 1×1 convolutions, one as large as the map, and a linear layer.

    The large convolution has four filters for each hidden channel alone (a dense one would have 205
    million weights on a 14×14 map with 512 channels).
    """
    return nn.Sequential(
        *convolution(num_classes, hidden, 1),
        *convolution(hidden, hidden, 1),
        *convolution(hidden, 4 * hidden, map_size, groups=hidden),
        nn.Flatten(),
        nn.Linear(4 * hidden, num_classes),
    )
