"""Compile the backbone with torch.compile."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from mmorderless.engine.hooks.bare_model import bare_model


@HOOKS.register_module()
class CompileBackboneHook(Hook):
    """Compile the backbone, and nothing else, with `torch.compile`.

    The tools replace a config's `compile=True` or `compile=dict(...)` by this hook. Weights keep
    their names in checkpoints. Training, validation and batch-norm estimation run the same compiled
    backbone; each is compiled at its first batch, and again when the batch size changes.

    Args:
        **options: of `torch.compile`.
    """

    def __init__(self, **options: Any) -> None:
        self.options = options

    def before_train(self, runner: Runner) -> None:
        """Compile the backbone in place; PyTorch compiles when it is first called."""
        bare_model(runner).backbone.compile(**self.options)
