"""Multi-label head with hidden layers on the pooled features."""

from collections.abc import Sequence
from typing import Any

from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.models.heads.decisions import mlp


@MODELS.register_module()
class MultiLabelMLPHead(MultiLabelClsHead):
    """Classify pooled features by an MLP with ReLU and dropout, before it and after each layer.

    Args:
        num_classes: C.
        in_channels: channels D of the pooled features.
        widths: sizes of the hidden layers.
        dropout: probability of dropping a feature or a hidden unit.
        **kwargs: arguments of `MultiLabelClsHead`.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        widths: Sequence[int] = (512,),
        dropout: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.net = nn.Sequential(
            nn.Dropout(dropout), mlp(in_channels, widths, num_classes, dropout)
        )

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Return the logits, shape (B, C)."""
        return self.net(self.pre_logits(feats))
