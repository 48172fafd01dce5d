"""Validate a resumed run first if its checkpoint was written before a validation."""

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS

KEY = "before_validation"
"""Key of a checkpoint that tells whether it was written right before a possible validation."""


@HOOKS.register_module()
class ValidateOnResumeHook(Hook):
    """Validate a resumed run first if its checkpoint was written right before a due validation.

    mmengine writes an epoch's checkpoint and then validates. A run resumed from it continues with
    the next epoch: a schedule that depends on the metrics (ReduceOnPlateauLR) misses one, and the
    best checkpoint may never be written. With this hook the resumed run has the same schedule and
    the same best checkpoint as the uninterrupted one.

    - A checkpoint in mid-epoch (`CheckpointHook(by_epoch=False)`) was written after the last
      validation.
    - When an epoch gives the best score, mmengine writes its checkpoint again after the validation.
      It contains the score already; a second validation would count as an epoch without progress.
    - A run resumed at its end is validated too, so that its best checkpoint exists.
    - A checkpoint that was written without this hook, without optimizer state (the best one) or by
      a loop that counts iterations is resumed from without a validation.
    """

    # After DeterministicResumeHook, SWAHook and CheckpointHook have restored their state.
    priority = "LOWEST"

    def __init__(self) -> None:
        self._before_validation = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Read the checkpoint's mark, in case the run is resumed from it."""
        self._before_validation = runner._resume and checkpoint.get(KEY, False)

    def before_train(self, runner: Runner) -> None:
        """Validate if a validation was due."""
        missed = self._before_validation and runner.val_loop is not None
        if missed and validation_is_due(runner.train_loop):
            runner.logger.info(
                "ValidateOnResumeHook: the checkpoint was written before its validation; "
                "validating now"
            )
            runner.val_loop.run()
        self._before_validation = False

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Mark a checkpoint that is written right before the loop may validate."""
        if "optimizer" not in checkpoint:
            return
        # The loop's counter advances between writing the checkpoint and validating.
        checkpoint[KEY] = checkpoint["meta"]["epoch"] == runner.train_loop.epoch + 1


def validation_is_due(loop: EpochBasedTrainLoop) -> bool:
    """Return whether a loop of mmengine validates at its current epoch."""
    loop._decide_current_val_interval()
    is_last = loop.epoch == loop.max_epochs
    return loop.epoch >= loop.val_begin and (loop.epoch % loop.val_interval == 0 or is_last)
