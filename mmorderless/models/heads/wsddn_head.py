"""Weakly supervised detection on grid windows, and the classifier that is distilled from it.

B images, C classes, R windows, H features of a window.
"""

from typing import Any

import torch
from mmpretrain.models.heads import MultiLabelClsHead
from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.models.decoders.base import check_sizes
from mmorderless.models.heads.features import Features
from mmorderless.models.heads.regions import RegionFeatures

CLAMP = 1e-4


class WindowHead(MultiLabelClsHead):
    """Base of the two heads on windows, which have the same windows and hidden layers.

    Args:
        num_classes: C.
        in_channels: channels D of the backbone's last map.
        hidden_size: H of both hidden layers; VGG's fc6 and fc7 have 4096.
        pooled_size: cells of a side that a window is averaged to; 7 in the authors' code.
        dropout: probability of dropout after each hidden layer.
        **kwargs: arguments of mmpretrain's `MultiLabelClsHead`.

    Raises:
        ValueError: a size is not positive.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_size: int = 256,
        pooled_size: int = 1,
        dropout: float = 0.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        check_sizes(hidden_size=hidden_size, pooled_size=pooled_size)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.regions = RegionFeatures(in_channels, hidden_size, pooled_size, dropout)
        self.hidden_size = hidden_size


@MODELS.register_module()
class WSDDNHead(WindowHead):
    """Scores of windows by two softmaxes, one over the classes and one over the windows.

    Hakan Bilen, Andrea Vedaldi: "Weakly Supervised Deep Detection Networks", CVPR 2016, as the
    teacher of Yongcheng Liu, Lu Sheng, Jing Shao, Junjie Yan, Shiming Xiang, Chunhong Pan:
    "Multi-Label Image Classification via Knowledge Distillation from Weakly-Supervised Detection",
    ACM MM 2018::

        S^c = softmax of M^c over the classes, S^d = softmax of M^d over the windows
        φ_c = Σ_r S^c_rc S^d_rc

    The logits are those of φ, cut to 1e-4 … 1 − 1e-4, so that binary cross-entropy with logits is
    that of φ. Not faithful: windows on a grid, which are not objects, instead of EdgeBoxes'
    proposals, so that the published numbers are not comparable; all windows have the same weight;
    they are averaged (RoIAlign) instead of max-pooled.

    Args: see `WindowHead`.
    """

    def __init__(self, num_classes: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(num_classes, *args, **kwargs)
        self.fc_class = nn.Linear(self.hidden_size, num_classes)
        self.fc_window = nn.Linear(self.hidden_size, num_classes)

    def region_scores(self, feats: Features, sharpen: float = 1.0) -> Tensor:
        """Return S^c ∘ S^d, what each window adds to the score of a class, shape (B, R, C).

        Both softmaxes have the temperature `sharpen`.
        """
        hidden = self.regions.dropout(self.regions(feats))
        classes, windows = (fc(hidden).float() / sharpen for fc in (self.fc_class, self.fc_window))
        return classes.softmax(2) * windows.softmax(1)

    def forward(self, feats: Features) -> Tensor:
        """Return the logits of φ, shape (B, C)."""
        return torch.logit(self.region_scores(feats).sum(1), CLAMP)

    def sharpened_scores(self, feats: Features, sharpen: float) -> Tensor:
        """Return φ from sharpened softmaxes, the soft targets of a student, shape (B, C)."""
        return self.region_scores(feats, sharpen).sum(1).clamp(0, 1)


@MODELS.register_module()
class WindowClsHead(WindowHead):
    """A linear layer on the features of the whole image, the student of `WSDDNHead`.

    The windows share the hidden layers with the whole image, so that their features can be
    distilled; prediction needs the whole image only.

    Args: see `WindowHead`.
    """

    def __init__(self, num_classes: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(num_classes, *args, **kwargs)
        self.fc = nn.Linear(self.hidden_size, num_classes)

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, shape (B, C)."""
        return self.fc(self.regions.dropout(self.regions(feats, whole=True))[:, 0])
