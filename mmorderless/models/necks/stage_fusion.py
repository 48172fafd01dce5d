"""Multi-scale fusion: a branch beside the backbone that carries its early stages to its end.

Niu, Lu, Wen, Xiang, Chang: "Multi-Modal Multi-Scale Deep Learning for Large-Scale Image
Annotation", IEEE TIP 2019.
"""

from collections.abc import Sequence
from itertools import pairwise

from mmpretrain.registry import MODELS
from torch import Tensor, nn

from mmorderless.models.heads.features import as_map
from mmorderless.models.sizes import size_list


@MODELS.register_module()
class StageFusionNeck(nn.Module):
    """Add each stage's map to the next, and average the last: g_k = fuse(g_{k−1}) + stage_k.

    `fuse` is a 3×3 convolution of stride 2 to half of the next stage's channels, batch norm, ReLU,
    a 1×1 convolution to its channels, and batch norm, as in a public reimplementation.

    Args:
        in_channels: channels of the stages, the first at the highest resolution.

    Raises:
        ValueError: `in_channels` is no list of positive integers.
    """

    def __init__(self, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.in_channels = size_list("in_channels", in_channels)
        self.fusions = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(now, after // 2, 3, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after // 2),
                nn.ReLU(inplace=True),
                nn.Conv2d(after // 2, after, 1, bias=False),
                nn.BatchNorm2d(after),
            )
            for now, after in pairwise(self.in_channels)
        )

    def forward(self, stages: tuple[Tensor, ...]) -> tuple[Tensor]:
        """Return the mean over the cells of the fused map, shape (B, D).

        Args:
            stages: maps (B, D_k, h_k, w_k), each of half the size of the one before.

        Raises:
            ValueError: the maps are not as many or not as large as they should be.
        """
        if len(stages) != len(self.fusions) + 1:
            raise ValueError(
                f"the backbone gives {len(stages)} maps, StageFusionNeck expects "
                f"{len(self.fusions) + 1}; set backbone.out_indices to the stages of in_channels"
            )
        number = len(stages)
        fused, *later = (as_map(stages, c, k - number) for k, c in enumerate(self.in_channels))
        for fuse, stage in zip(self.fusions, later):
            halved = fuse(fused)
            if halved.shape[2:] != stage.shape[2:]:
                raise ValueError(
                    f"a stage with maps of {tuple(fused.shape[2:])} cells is followed by one of "
                    f"{tuple(stage.shape[2:])}, StageFusionNeck needs {tuple(halved.shape[2:])}; "
                    "take stages that halve the map, and sides of images that 32 divides"
                )
            fused = halved + stage
        return (fused.mean((2, 3)),)
