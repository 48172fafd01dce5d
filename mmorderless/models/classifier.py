"""mmpretrain's classifier with what training label sets at scale needs besides."""

from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class LabelSetClassifier(ImageClassifier):
    """`ImageClassifier` that can keep its encoder as it is, and work in channels-last.

    The encoder is the backbone and the neck. Weights have the names that they have in an
    `ImageClassifier`: checkpoints fit both.

    Args:
        freeze_encoder: whether the encoder has no gradients and stays in evaluation mode, so that
            its dropout is off and its batch norms keep their statistics, too. Parameters are frozen
            as soon as the model is built: the wrapper of a distributed run never waits for them.
        channels_last: whether weights and images lie in memory with the channel as the fastest
            dimension, which tensor cores prefer. Results are the same up to rounding; dropout drops
            other entries.
        **kwargs: of `ImageClassifier`.
    """

    def __init__(
        self, freeze_encoder: bool = False, channels_last: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.freeze_encoder = freeze_encoder
        self.channels_last = channels_last
        if freeze_encoder:
            for part in self._encoder():
                part.requires_grad_(False)
            self.train()
        if channels_last:
            self.to(memory_format=torch.channels_last)

    def _encoder(self) -> list[torch.nn.Module]:
        return [self.backbone, self.neck] if self.with_neck else [self.backbone]

    def train(self, mode: bool = True) -> "LabelSetClassifier":
        """Set the mode of everything that is not frozen."""
        super().train(mode)
        if self.freeze_encoder:
            for part in self._encoder():
                part.eval()
        return self

    def extract_feat(self, inputs: Tensor, stage: str = "neck") -> Any:
        """Extract features, of a frozen encoder without gradients.

        Args:
            inputs: preprocessed images, shape (B, 3, H, W).
            stage: `backbone`, `neck` or `pre_logits`, as in `ImageClassifier`.
        """
        if stage == "pre_logits":
            return self.head.pre_logits(self.extract_feat(inputs))
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_encoder):
            return super().extract_feat(inputs, stage)
