"""A small CNN for small images, fast enough to train on a CPU."""

from collections.abc import Sequence

import torch.nn.functional as F
from mmengine.model import BaseModule
from mmpretrain.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class StridedCNN(BaseModule):
    """Two 3×3 convolutions with batch norm and ReLU per stage, the first with stride 2.

    Input (B, 3, H, W); output a tuple with the map (B, D, H/2^S, W/2^S) of the last of S stages.

    Args:
        channels: channels of each stage; the last is D.
        init_cfg: weight initialization, as in every mmengine module.
    """

    def __init__(
        self, channels: Sequence[int] = (16, 32, 64), init_cfg: dict | list | None = None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.convolutions, self.norms = nn.ModuleList(), nn.ModuleList()
        inputs = 3
        for outputs in channels:
            for stride in (2, 1):
                self.convolutions.append(
                    nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
                )
                self.norms.append(nn.BatchNorm2d(outputs))
                inputs = outputs

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Return the last stage's map in a tuple, like every backbone."""
        x = images
        for convolution, norm in zip(self.convolutions, self.norms):
            x = F.relu(norm(convolution(x)))
        return (x,)
