"""Merge an optimizer's parameter groups that have equal options."""

from collections.abc import Sequence
from typing import Any

from mmengine.optim import DefaultOptimWrapperConstructor
from mmpretrain.registry import OPTIM_WRAPPER_CONSTRUCTORS
from torch import nn


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedGroupsConstructor(DefaultOptimWrapperConstructor):
    """Build an optimizer with one parameter group for all weights of equal `paramwise_cfg` options.

    mmengine's constructor makes a group of every weight, and a fused Adam launches its kernels once
    per group: 329 times an update for ResNet-101 and a decoder, instead of twice.
    """

    def add_params(
        self, params: list[dict], module: nn.Module, prefix: str = "", is_dcn_module: Any = None
    ) -> None:
        """Add a module's weights to `params`; the groups are merged once the model is complete."""
        super().add_params(params, module, prefix, is_dcn_module)
        if not prefix:
            params[:] = merge_groups(params)


def merge_groups(groups: Sequence[dict]) -> list[dict]:
    """Merge groups with equal options, in the order of their first weights.

    Args:
        groups: of an optimizer: `params` is a list, the rest are options.
    """
    merged: list[dict] = []
    for group in groups:
        options = {**group, "params": None}
        same = next((known for known in merged if {**known, "params": None} == options), None)
        if same is None:
            merged.append({**group, "params": [*group["params"]]})
        else:
            same["params"] += group["params"]
    return merged
