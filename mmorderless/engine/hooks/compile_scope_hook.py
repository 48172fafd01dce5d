"""Keeps torch.compile to the part of a training step that it can make faster."""

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from mmorderless.engine.hooks.bare_model import bare_model


@HOOKS.register_module()
class CompileScopeHook(Hook):
    """Leave the encoder to mmengine's option `compile`, nothing else.

    mmengine compiles the model's whole `train_step`. But the data preprocessor and the loss of a
    linear head read one label set after the other, and the optimiser's wrapper has a count and a
    learning rate that change: each would be compiled anew batch after batch, until PyTorch gives up
    with a warning. (`OrderlessRNNHead` and its losses look after themselves.) Does nothing in a
    run without `compile`; The tools add this hook to the others.
    """

    def before_train(self, runner: Runner) -> None:
        """Disable compilation where it does not pay; mmengine compiles at the first batch."""
        if not runner.cfg.get("compile"):
            return
        model = bare_model(runner)
        _disable(model.data_preprocessor, "forward")
        _disable(runner.optim_wrapper, "update_params")
        for module in model.modules():
            if hasattr(module, "_get_loss"):  # the heads of mmpretrain
                _disable(module, "_get_loss")


def _disable(owner: object, method: str) -> None:
    setattr(owner, method, torch.compiler.disable(getattr(owner, method)))
