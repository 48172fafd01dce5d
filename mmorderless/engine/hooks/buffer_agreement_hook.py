"""Average the model's buffers over the processes of a run."""

from typing import Any

from mmengine.dist import all_reduce_params
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS


@HOOKS.register_module()
class BufferAgreementHook(Hook):
    """Average the model's buffers over the processes before they are validated or saved.

    Each process computes batch-norm statistics of its own images. mmengine's `SyncBuffersHook`
    averages them at an epoch's end and before a validation, but not before a checkpoint that is
    written every N iterations, which then holds the first process's statistics instead of those
    that are validated. This hook replaces it, and averages only after a change. The tools add it to
    every distributed run.
    """

    # Before SWAHook (55), which needs the averaged statistics, and CheckpointHook (90).
    priority = "NORMAL"

    def __init__(self) -> None:
        self._agreed = True  # all processes start with the same weights and buffers

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Average before a checkpoint that is written every N iterations."""
        self._agreed = False
        if checkpoint_is_due(runner):
            self._agree(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Average at the end of an epoch."""
        self._agree(runner)

    def before_val_epoch(self, runner: Runner) -> None:
        """Average before a validation that is made every N iterations."""
        self._agree(runner)

    def _agree(self, runner: Runner) -> None:
        if runner.distributed and not self._agreed:
            all_reduce_params(runner.model.buffers(), op="mean")
        self._agreed = True


def checkpoint_is_due(runner: Runner) -> bool:
    """Return whether a CheckpointHook that counts iterations saves after this one."""
    return any(
        hook.every_n_train_iters(runner, hook.interval, hook.save_begin)
        or (hook.save_last and hook.is_last_train_iter(runner))
        for hook in runner.hooks
        if isinstance(hook, CheckpointHook) and not hook.by_epoch
    )
