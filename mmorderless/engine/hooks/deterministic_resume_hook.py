"""A resumed training goes on as if it had not been interrupted."""

import logging
from collections.abc import Iterable
from typing import Any

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.dist import all_reduce, all_reduce_params
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS
from torch import Tensor, nn

from mmorderless.engine.hooks.bare_model import bare_model
from mmorderless.engine.hooks.buffer_agreement_hook import checkpoint_is_due
from mmorderless.engine.hooks.label_order_hook import random_losses
from mmorderless.engine.seeding import BatchStream, DrawSampler, batch_size_of, reseed, seed_samples
from mmorderless.models.losses.sampling import RandomDraws

KEY = "deterministic_resume"
"""Where a checkpoint holds what mmengine does not save."""

EPOCH, ITERATION = range(2)
"""What a seed is for, so that epoch 7 and iteration 7 differ."""


@HOOKS.register_module()
class DeterministicResumeHook(Hook):
    """Make training depend on the run's seed and its progress alone.

    mmengine saves no random state, so a resumed run draws other numbers. With this hook

    - Python's `random`, NumPy and PyTorch (all devices) are reseeded from seed, rank and epoch
      before each epoch and from seed, rank and iteration before each iteration. (The epoch alone
      would not do: a DataLoader draws a number when it starts its workers and none when it keeps
      them.) Losses that draw random orders or tokens are reseeded with them.
    - Each sample's augmentation is seeded from seed, epoch and index, whatever the number of
      workers: see `seeding.SeededFetch`.
    - Gradients that were accumulated but not yet used are saved and restored. mmengine carries
      them over from one epoch to the next and uses them up in the last iteration of the training;
      a step at each epoch's end would change the schedule. In a distributed run each process goes
      on with their mean, from every epoch's end and every checkpoint, so that one file holds all.
      (The buffers are left to BufferAgreementHook, which such a run needs, too.)
    - The sampler's seed is saved: where the config sets none, mmengine draws one before it reads
      the run's seed from the checkpoint.
    - A checkpoint that was written in mid-epoch (`CheckpointHook(by_epoch=False)`) resumes at the
      next batch without loading the ones before. The log counts the batches that are left from 1.
      `IterBasedTrainLoop` resumes in the same way, at any iteration.

    The resumed run then equals the uninterrupted one bit for bit on a CPU, if nothing draws from a
    generator of its own (Albumentations does) and the config, `max_epochs` included, stays the
    same.

    Raises:
        ValueError: the training set's batches do not come from a sampler; or, on resuming, it is
            not known which batches of an epoch were seen.
    """

    priority = "VERY_HIGH"  # before whatever draws random numbers

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None
        self._epoch_start = 0  # iterations before the running epoch
        self._seen = 0  # batches of the epoch to come that were seen before
        self._in_epoch = False
        self._random_losses: list[RandomDraws] = []

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the checkpoint, in case the run is resumed from it."""
        self._loaded = checkpoint

    def before_train(self, runner: Runner) -> None:
        """Seed the samples, and restore what mmengine does not."""
        loop, loader = runner.train_loop, runner.train_dataloader
        draws = seed_samples(loader, runner.seed)
        self._random_losses = random_losses(runner)
        checkpoint, self._loaded = self._loaded, None
        # Without an iteration behind it the run only starts from the checkpoint's weights.
        resumed = checkpoint is not None and loop.iter > 0
        saved = (checkpoint or {}).get(KEY) if resumed else None
        if saved is not None:
            restore_gradients(bare_model(runner), saved["gradients"])
            if saved["sampler_seed"] is not None:
                draws.sampler.seed = saved["sampler_seed"]
        if isinstance(loop, IterBasedTrainLoop):
            self._restart_stream(runner, draws)
        elif resumed:
            self._seen = seen_batches(runner, saved)
        if resumed:
            warn_of_changes(runner, saved)

    def before_train_epoch(self, runner: Runner) -> None:
        """Reseed, tell the samples their epoch and skip the batches that were seen before."""
        reseed(runner.seed, runner.rank, EPOCH, runner.epoch)
        self._in_epoch = True
        self._epoch_start = runner.iter - self._seen
        if not isinstance(runner.train_loop, IterBasedTrainLoop):
            draws = runner.train_dataloader.batch_sampler.sampler
            draws.set_epoch(runner.epoch)
            draws.skip = self._seen * batch_size_of(runner.train_dataloader)
            self._seen = 0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Reseed for dropout, batch augmentation and the losses that draw."""
        reseed(runner.seed, runner.rank, ITERATION, runner.iter)
        for loss in self._random_losses:
            loss.reseed(runner.seed, runner.rank, 0, runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Make the processes agree before a checkpoint in mid-epoch, which the first one writes."""
        if runner.distributed and checkpoint_is_due(runner):
            average_gradients(runner.model.parameters())

    def after_train_epoch(self, runner: Runner) -> None:
        """Make the processes agree on the gradients that are left over."""
        self._in_epoch = False
        if runner.distributed:
            average_gradients(runner.model.parameters())

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Make the processes agree before the best checkpoint is written."""
        if runner.distributed:
            average_gradients(runner.model.parameters())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add what mmengine leaves out to a checkpoint that can be resumed from."""
        if "optimizer" not in checkpoint:
            return
        seen = checkpoint["meta"]["iter"] - self._epoch_start if self._in_epoch else 0
        sampler = runner.train_dataloader.batch_sampler.sampler.sampler
        checkpoint[KEY] = {
            "seen_batches": seen,
            "settings": settings_of(runner),
            "sampler_seed": getattr(sampler, "seed", None),
            "gradients": {
                name: parameter.grad.cpu()
                for name, parameter in bare_model(runner).named_parameters()
                if parameter.grad is not None
            },
        }

    def _restart_stream(self, runner: Runner, draws: DrawSampler) -> None:
        """Let a loop that counts iterations start at its iteration, with seeded samples."""
        loop, loader, sampler = runner.train_loop, runner.train_dataloader, draws.sampler
        if loop.iter > 0 and batch_size_of(loader) == 0:
            name = type(loader.batch_sampler).__name__
            raise ValueError(
                f"cannot resume at iteration {loop.iter}: the batches of {name} are not of one "
                "size and cannot be skipped; give train_dataloader a batch_size instead"
            )
        if isinstance(sampler, InfiniteSampler):
            # The original mmengine has started workers by now, which took the first indices.
            draws.sampler = InfiniteSampler(sampler.dataset, sampler.shuffle, sampler.seed)
            draws.endless = True
        loader._iterator = None  # these workers do not seed their samples
        to_skip = 0 if getattr(loop, "fast_forward_on_resume", False) else loop.iter
        loop.dataloader_iterator = BatchStream(loader, draws, loop.iter, to_skip)


def restore_gradients(model: nn.Module, gradients: dict[str, Tensor]) -> None:
    """Give parameters the gradients that were accumulated when a checkpoint was written."""
    for name, parameter in model.named_parameters():
        if name in gradients and parameter.requires_grad:
            parameter.grad = gradients[name].to(parameter.device)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients that no step has used over the processes.

    The mean of all that is accumulated until the step is the same, since it is linear.
    """
    parameters = list(parameters)
    device = parameters[0].device
    pending = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int, device=device)
    all_reduce(pending, op="max")
    used = [p for p, flag in zip(parameters, pending.tolist()) if flag]
    for parameter in used:
        if parameter.grad is None:  # its loss was not in this process's batches
            parameter.grad = torch.zeros_like(parameter)
    if used:
        all_reduce_params([parameter.grad for parameter in used], op="mean")


def settings_of(runner: Runner) -> dict[str, int]:
    """What must not change between two parts of a training."""
    return {
        "processes": runner.world_size,
        "batch_size": batch_size_of(runner.train_dataloader),
        "batches_per_epoch": len(runner.train_dataloader),
        "accumulative_counts": getattr(runner.optim_wrapper, "_accumulative_counts", 1),
    }


def seen_batches(runner: Runner, saved: dict[str, Any] | None) -> int:
    """How many batches of the epoch a resumed run had seen.

    Args:
        runner: the runner, its loop at the checkpoint's epoch and iteration.
        saved: what this hook had put into the checkpoint, None if it had not.

    Raises:
        ValueError: it is not known which batches they were.
    """
    loop, per_epoch = runner.train_loop, len(runner.train_dataloader)
    where = f"iteration {loop.iter} in epoch {loop.epoch + 1}"
    remedy = "resume from the checkpoint of an epoch's end (epoch_N.pth)"
    if saved is None:
        if loop.iter != loop.epoch * per_epoch:
            raise ValueError(
                f"cannot resume at {where} of {per_epoch} batches each: the checkpoint was written "
                "in mid-epoch, or with another batch size, by a run without "
                f"DeterministicResumeHook; {remedy}, or start from its weights alone (load_from)"
            )
        return 0
    changed = changed_settings(runner, saved)
    if saved["seen_batches"] and changed:
        raise ValueError(
            f"cannot resume in mid-epoch, at {where}, with other settings ({changed}): the batches "
            f"seen would be others; restore them, or {remedy}"
        )
    if saved["seen_batches"] and batch_size_of(runner.train_dataloader) == 0:
        sampler = type(runner.train_dataloader.batch_sampler).__name__
        raise ValueError(
            f"cannot resume in mid-epoch, at {where}: the batches of {sampler} are not of one size "
            f"and cannot be skipped; {remedy}"
        )
    return saved["seen_batches"]


def changed_settings(runner: Runner, saved: dict[str, Any]) -> str:
    """Name the settings that differ from the checkpoint's; empty when none does."""
    now = settings_of(runner)
    return ", ".join(
        f"{name} {before} → {now[name]}"
        for name, before in saved["settings"].items()
        if before != now[name]
    )


def warn_of_changes(runner: Runner, saved: dict[str, Any] | None) -> None:
    """Log why a resumed run will not equal the uninterrupted one, if so."""
    if saved is None:
        reason = (
            "the checkpoint was written by a run without DeterministicResumeHook, or without the "
            "optimiser's state"
        )
    elif changed := changed_settings(runner, saved):
        reason = f"settings have changed since the checkpoint: {changed}"
    else:
        return
    print_log(
        f"the resumed run will not equal the uninterrupted one: {reason}",
        logger="current",
        level=logging.WARNING,
    )
