"""Linear multi-label head whose class activation maps must agree between views (ACfs).

B images, C classes, D channels, maps of h×w cells.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmpretrain.models.heads import MultiLabelLinearClsHead
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from mmorderless.models.heads.features import Features, as_map


def flip_difference(maps: Tensor) -> Tensor:
    """Return the mean squared difference between B images' maps and those of their mirror images.

    `maps` (2B, C, h, w) are those of the images, then of the mirror images in the same order.
    """
    image, mirrored = maps.chunk(2)
    return F.mse_loss(image, mirrored.flip(-1))


def scale_difference(large: Tensor, small: Tensor) -> Tensor:
    """Return the mean squared difference between maps (B, C, h, w) of images at two sizes.

    Both are upsampled (nearest neighbor) to the least common multiple of their sides.
    """
    size = [math.lcm(*sides) for sides in zip(large.shape[-2:], small.shape[-2:])]
    return F.mse_loss(F.interpolate(large, size), F.interpolate(small, size))


@MODELS.register_module()
class AttentionConsistencyHead(MultiLabelLinearClsHead):
    """A linear head on the pooled map, trained on several views of each image.

    Hao Guo, Kang Zheng, Xiaochuan Fan, Hongkai Yu, Song Wang: "Visual Attention Consistency Under
    Image Transforms for Multi-Label Image Classification", CVPR 2019.

    The class activation map of class c is M_c = Σ_d W_cd F_d, without the bias, so that
    mean(M_c) + b_c is the logit. Losses, with the maps of the original size first:

    - `loss`: the head's loss over the rows of all views;
    - `loss_flip`: λ_f / C · Σ_sizes mean (M(x) − flip(M(flip x)))²;
    - `loss_scale`: λ_s / C · mean (up(M(large)) − up(M(small)))².

    Faithful to the authors' code: W is detached in M, so that the consistency terms train the
    encoder alone; gradients flow into both views. The division by C is this package's: the
    classification loss is a mean over classes here and a sum there. It predicts as
    `MultiLabelLinearClsHead` with global average pooling, and its weights have the same names.

    Args:
        flip_weight: λ_f in the authors' units.
        scale_weight: λ_s in the authors' units.
        **kwargs: arguments of `MultiLabelLinearClsHead`.
    """

    def __init__(self, flip_weight: float = 1.0, scale_weight: float = 1.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.flip_weight = flip_weight
        self.scale_weight = scale_weight

    def pre_logits(self, feats: Features) -> Tensor:
        """Return the mean of the map over its cells, shape (B, D)."""
        return as_map(feats, self.in_channels).mean((2, 3))

    def cam(self, feats: Features) -> Tensor:
        """Return the class activation maps, shape (B, C, h, w), without gradients in W."""
        return F.conv2d(as_map(feats, self.in_channels), self.fc.weight.detach()[:, :, None, None])

    def consistency_loss(
        self, feats_by_size: Sequence[Features], data_samples: list[DataSample]
    ) -> dict[str, Tensor]:
        """Return the losses of a batch from the features of its views.

        Args:
            feats_by_size: for the original size, and a smaller one if there is one, the features
                of the B images followed by those of their mirror images.
            data_samples: B samples with labels.

        Returns:
            `loss` and `loss_flip`; with two sizes also `loss_scale`.
        """
        logits = torch.cat([self(feats) for feats in feats_by_size])
        losses = self._get_loss(logits, data_samples * (2 * len(feats_by_size)))
        maps = [self.cam(feats) for feats in feats_by_size]
        flip = sum(flip_difference(each) for each in maps)
        losses["loss_flip"] = self.flip_weight / self.num_classes * flip
        if len(maps) == 2:
            scale = scale_difference(*maps)
            losses["loss_scale"] = self.scale_weight / self.num_classes * scale
        return losses
