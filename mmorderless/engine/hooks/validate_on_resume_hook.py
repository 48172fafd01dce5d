"""Validate a resumed run first if its checkpoint was written before a validation."""

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
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
      validation; a loop that counts iterations may validate after any iteration.
    - When an epoch gives the best score, mmengine writes its checkpoint again after the validation.
      It contains the score already; a second validation would count as an epoch without progress.
    - A run resumed at its end is validated too, so that its best checkpoint exists.
    - A checkpoint that was written without this hook, or without optimizer state (the best one),
      is resumed from without a validation.
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
        due = runner.val_loop is not None and validation_is_due(runner.train_loop)
        if self._before_validation and due:
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
        loop, meta = runner.train_loop, checkpoint["meta"]
        if isinstance(loop, IterBasedTrainLoop):
            checkpoint[KEY] = meta["iter"] == loop.iter + 1
        else:
            checkpoint[KEY] = meta["epoch"] == loop.epoch + 1


def validation_is_due(loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> bool:
    """Return whether a loop of mmengine validates at its current epoch or iteration."""
    loop._decide_current_val_interval()
    if isinstance(loop, IterBasedTrainLoop):
        done, end = loop.iter, loop.max_iters
    else:
        done, end = loop.epoch, loop.max_epochs
    return done >= loop.val_begin and (done % loop.val_interval == 0 or done == end)
