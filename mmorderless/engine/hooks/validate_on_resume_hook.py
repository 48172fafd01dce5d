"""A resumed training makes up for the validation that its checkpoint was written before."""

from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS

KEY = "before_validation"
"""Where a checkpoint says that it was written where a validation may follow."""


@HOOKS.register_module()
class ValidateOnResumeHook(Hook):
    """Validate a resumed run first when its checkpoint does not know the validation it was due.

    mmengine writes a checkpoint at an epoch's end and validates then. A run that is resumed from
    there goes on with the next epoch: a schedule that looks at the metrics (ReduceOnPlateauLR)
    misses one, and the best checkpoint may never be written. With this hook the resumed run has the
    same schedule and the same best checkpoint as the uninterrupted one.

    - A checkpoint in the middle of an epoch (`CheckpointHook(by_epoch=False)`) was written after
      the last validation; a loop that counts iterations validates after any of them.
    - When an epoch gives the best score, mmengine writes its checkpoint again after the validation.
      That one knows the score already; a second validation would count as a bad epoch.
    - A run that is resumed at its end is validated, too, so that its best checkpoint exists.
    - A checkpoint that was written without this hook, or without the optimiser's state (the best
      one), says nothing and is left alone.
    """

    # After DeterministicResumeHook, SWAHook and CheckpointHook have restored what they saved.
    priority = "LOWEST"

    def __init__(self) -> None:
        self._before_validation = False

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember what the checkpoint says, in case the run is resumed from it."""
        self._before_validation = runner._resume and checkpoint.get(KEY, False)

    def before_train(self, runner: Runner) -> None:
        """Validate when that was due."""
        due = runner.val_loop is not None and validation_is_due(runner.train_loop)
        if self._before_validation and due:
            runner.logger.info(
                "ValidateOnResumeHook: the checkpoint was written before its validation, which is "
                "made now"
            )
            runner.val_loop.run()
        self._before_validation = False

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Mark a checkpoint that is written where the loop will look whether to validate."""
        if "optimizer" not in checkpoint:
            return
        # The loop's own counter moves on between writing the checkpoint and validating.
        loop, meta = runner.train_loop, checkpoint["meta"]
        if isinstance(loop, IterBasedTrainLoop):
            checkpoint[KEY] = meta["iter"] == loop.iter + 1
        else:
            checkpoint[KEY] = meta["epoch"] == loop.epoch + 1


def validation_is_due(loop: EpochBasedTrainLoop | IterBasedTrainLoop) -> bool:
    """Whether a loop of mmengine validates where it stands."""
    loop._decide_current_val_interval()
    if isinstance(loop, IterBasedTrainLoop):
        done, end = loop.iter, loop.max_iters
    else:
        done, end = loop.epoch, loop.max_epochs
    return done >= loop.val_begin and (done % loop.val_interval == 0 or done == end)
