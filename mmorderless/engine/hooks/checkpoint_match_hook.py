"""Stops a run whose checkpoint holds nothing that the model can use."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from mmorderless.engine.hooks.bare_model import bare_model
from mmorderless.models.weights import check_some_weights_match, load_all_weights, weights_of


@HOOKS.register_module()
class CheckpointMatchHook(Hook):
    """Check a checkpoint against the model before it is loaded, resumed from or tested.

    mmengine only warns when no key matches and goes on with random weights. The tools add this
    hook to every run.

    Args:
        complete: whether the checkpoint must hold every weight of the model (a test) or at least
            one (training that starts from another model's weights).
    """

    priority = "VERY_HIGH"

    def __init__(self, complete: bool = False) -> None:
        self.complete = complete

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the checkpoint that was just read.

        Args:
            runner: the runner, whose model does not have the weights yet.
            checkpoint: what the file holds.

        Raises:
            ValueError: no weight fits the model; or, when `complete`, one is missing.
        """
        check = load_all_weights if self.complete else check_some_weights_match
        check(bare_model(runner), weights_of(checkpoint))
