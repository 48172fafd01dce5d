"""Maximum of each channel over the map."""

from mmpretrain.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class GlobalMaxPooling(nn.Module):
    """Maximum of each channel over the map, which keeps what is small in the image."""

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the maxima of each stage's map (B, D, h, w), shape (B, D)."""
        return tuple(stage.amax((2, 3)) for stage in feats)
