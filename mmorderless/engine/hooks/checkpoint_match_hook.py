"""Reject a checkpoint whose weights do not fit the model."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from mmorderless.engine.hooks.bare_model import bare_model
from mmorderless.models.weights import check_some_weights_match, load_all_weights, weights_of


@HOOKS.register_module()
class CheckpointMatchHook(Hook):
    """Check a checkpoint against the model before it is loaded, resumed from or tested.

    When no key matches, mmengine only warns and continues with random weights. The tools add this
    hook to every run.

    Args:
        complete: whether the checkpoint must hold every weight of the model (evaluation) or at
            least one (training from another model's weights).
    """

    priority = "VERY_HIGH"

    def __init__(self, complete: bool = False) -> None:
        self.complete = complete

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the checkpoint that was just read.

        Raises:
            ValueError: no weight fits the model or, if `complete`, one is missing.
        """
        check = load_all_weights if self.complete else check_some_weights_match
        check(bare_model(runner), weights_of(checkpoint))
