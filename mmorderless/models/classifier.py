"""`ImageClassifier` with a freezable encoder and channels-last memory format."""

from typing import Any

import torch
from mmpretrain.models import ImageClassifier
from mmpretrain.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class LabelSetClassifier(ImageClassifier):
    """`ImageClassifier` with a freezable encoder and channels-last memory format.

    The encoder is the backbone and the neck. Weights have the same names as in `ImageClassifier`,
    so that checkpoints fit both.

    Args:
        freeze_encoder: whether the encoder gets no gradients and stays in evaluation mode, which
            also turns off its dropout and fixes its batch-norm statistics. Parameters are frozen
            when the model is built, before a distributed run wraps it.
        channels_last: whether weights and images use the channels-last memory format, which tensor
            cores prefer. Results are equal up to rounding; dropout masks differ.
        **kwargs: arguments of `ImageClassifier`.
    """

    def __init__(
        self, freeze_encoder: bool = False, channels_last: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.freeze_encoder = freeze_encoder
        self.channels_last = channels_last
        if freeze_encoder:
            for module in self._encoder():
                module.requires_grad_(False)
            self.train()
        if channels_last:
            self.to(memory_format=torch.channels_last)

    def _encoder(self) -> list[torch.nn.Module]:
        return [self.backbone, self.neck] if self.with_neck else [self.backbone]

    def train(self, mode: bool = True) -> "LabelSetClassifier":
        """Set training or evaluation mode; a frozen encoder stays in evaluation mode."""
        super().train(mode)
        if self.freeze_encoder:
            for module in self._encoder():
                module.eval()
        return self

    def extract_feat(self, inputs: Tensor, stage: str = "neck") -> Any:
        """Extract features as `ImageClassifier`, without gradients if the encoder is frozen."""
        if stage == "pre_logits":
            return self.head.pre_logits(self.extract_feat(inputs))
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.freeze_encoder):
            return super().extract_feat(inputs, stage)
