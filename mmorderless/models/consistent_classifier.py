"""Classifier that is trained on mirrored and resized views of each image."""

from typing import Any

import torch
import torch.nn.functional as F
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample
from torch import Tensor

from mmorderless.models.backbones.feature_pass_through import FeaturePassThrough
from mmorderless.models.classifier import LabelSetClassifier
from mmorderless.models.heads.attention_consistency_head import AttentionConsistencyHead


@MODELS.register_module()
class ConsistentClassifier(LabelSetClassifier):
    """Classifier whose head compares an image with its mirror image and with a smaller copy.

    The views are made on the device from the preprocessed batch; prediction sees one. The authors
    of ACfs resize the picture itself, which differs from resizing the tensor by rounding and by
    the interpolation. Memory and time of a training step are about those of two or four images.

    Args:
        scale: side of the smaller copy as a share of the image's; None makes two views, else four.
        **kwargs: arguments of `LabelSetClassifier`; the head is an `AttentionConsistencyHead`.

    Raises:
        ValueError: the head is another, the encoder is frozen or its inputs are cached features, or
            the scale is not between 0 and 1.
    """

    def __init__(self, scale: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if scale is not None and not 0 < scale < 1:
            raise ValueError(f"scale must be between 0 and 1, or None, got {scale}")
        if not isinstance(self.head, AttentionConsistencyHead):
            raise ValueError(
                f"ConsistentClassifier trains an AttentionConsistencyHead, got "
                f"{type(self.head).__name__}; use LabelSetClassifier for it"
            )
        if isinstance(self.backbone, FeaturePassThrough):
            raise ValueError(
                "attention consistency needs images, and the inputs are cached features, of which "
                "there is no second view; use a config that reads images, or another method"
            )
        if self.freeze_encoder:
            raise ValueError(
                "attention consistency trains the encoder, and freeze_encoder=True keeps it as it "
                "is; set freeze_encoder=False, or use another method"
            )
        self.scale = scale

    @property
    def num_views(self) -> int:
        """Number of views of each image in training."""
        return 2 if self.scale is None else 4

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Return the losses of a batch of preprocessed images, shape (B, 3, H, W)."""
        sizes = [inputs]
        if self.scale is not None:
            size = [round(side * self.scale) for side in inputs.shape[-2:]]
            sizes.append(F.interpolate(inputs, size, mode="bilinear", antialias=True))
        feats = [self.extract_feat(torch.cat([x, x.flip(-1)])) for x in sizes]
        return self.head.consistency_loss(feats, data_samples)
