"""Resume a training so that it equals the uninterrupted one."""

import logging
from collections.abc import Iterable
from typing import Any

import torch
from mmengine.dist import all_reduce, all_reduce_params
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop, Runner
from mmpretrain.registry import HOOKS
from torch import Tensor, nn

from mmorderless.engine.hooks.bare_model import bare_model
from mmorderless.engine.hooks.buffer_agreement_hook import checkpoint_is_due
from mmorderless.engine.hooks.training_context_hook import modules_of
from mmorderless.engine.seeding import SeededSampler, batch_size_of, reseed, seed_samples
from mmorderless.models.losses.sampling import RandomDraws
from mmorderless.models.weights import check_same_shapes

KEY = "deterministic_resume"
"""Key of a checkpoint under which this hook saves its state."""

EPOCH, ITERATION = range(2)
"""Purpose of a seed, so that epoch 7 and iteration 7 get different seeds."""


@HOOKS.register_module()
class DeterministicResumeHook(Hook):
    """Make training depend only on the run's seed and its progress.

    mmengine saves no random state, so that a resumed run draws other numbers. With this hook

    - Python's `random`, NumPy and PyTorch (all devices) are reseeded from seed, rank and epoch
      before each epoch and from seed, rank and iteration before each iteration. (The epoch is not
      enough: a DataLoader draws a number when it starts its workers and none when it keeps them.)
      Losses that draw random orders or tokens are reseeded too.
    - Each sample's augmentation is seeded from seed, epoch and index, for any number of workers;
      see `seeding.SeededFetch`.
    - Accumulated gradients that no step has used are saved and restored. mmengine carries them over
      from one epoch to the next and uses them in the last iteration of the training; a step at
      each epoch's end would change the schedule. In a distributed run each process continues with
      their mean after every epoch and every checkpoint, so that one file holds them all. (Buffers
      are left to BufferAgreementHook, which such a run also needs.)
    - The sampler's seed is saved: if the config sets none, mmengine draws one before it reads the
      run's seed from the checkpoint.
    - A checkpoint written in mid-epoch (`CheckpointHook(by_epoch=False)`) resumes at the next batch
      without loading the earlier ones. The log counts the remaining batches from 1.

    On a CPU the resumed run equals the uninterrupted one bit for bit, provided that no transform
    has its own random generator (Albumentations has) and that the config, `max_epochs` included,
    is unchanged. On a GPU this also needs `randomness.deterministic=True`. A loop that counts
    iterations (`IterBasedTrainLoop`) resumes as mmengine does, which is a warning.

    Raises:
        ValueError: the training set's batches do not come from a sampler; or it is unknown which
            batches of an epoch a resumed run had seen.
    """

    priority = "VERY_HIGH"  # before anything that draws random numbers

    def __init__(self) -> None:
        self._loaded: dict[str, Any] | None = None
        self._epoch_start = 0  # iterations before the current epoch
        self._seen = 0  # batches of the next epoch that were seen before the resume
        self._in_epoch = False
        self._random_losses: list[RandomDraws] = []
        self._sampler: SeededSampler | None = None  # None with a loop that counts iterations

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the checkpoint, in case the run is resumed from it.

        Raises:
            ValueError: its state of this hook is damaged or does not fit the model.
        """
        self._loaded = checkpoint
        if runner._resume and KEY in checkpoint:
            check_state(checkpoint[KEY], bare_model(runner))

    def before_train(self, runner: Runner) -> None:
        """Seed the samples and restore the saved state."""
        self._random_losses = modules_of(runner, RandomDraws)
        checkpoint, self._loaded = self._loaded, None
        # At iteration 0 the run only starts from the checkpoint's weights.
        resumed = checkpoint is not None and runner.iter > 0
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            if resumed:
                warn("it counts iterations instead of epochs (train_cfg.by_epoch=False)")
            return
        self._sampler = seed_samples(runner.train_dataloader, runner.seed)
        if not resumed:
            return
        saved = checkpoint.get(KEY)
        if saved is not None:
            restore_gradients(bare_model(runner), saved["gradients"])
            if saved["sampler_seed"] is not None:
                self._sampler.sampler.seed = saved["sampler_seed"]
        self._seen = seen_batches(runner, saved)
        if saved is None:
            warn(
                "the checkpoint was written by a run without DeterministicResumeHook, or without "
                "the optimizer's state"
            )
        elif changed := changed_settings(runner, saved):
            warn(f"settings have changed since the checkpoint: {changed}")

    def before_train_epoch(self, runner: Runner) -> None:
        """Reseed, set the samples' epoch and skip the batches that were seen before."""
        reseed(runner.seed, runner.rank, EPOCH, runner.epoch)
        self._in_epoch = True
        self._epoch_start = runner.iter - self._seen
        if self._sampler is not None:
            self._sampler.set_epoch(runner.epoch)
            self._sampler.skip = self._seen * batch_size_of(runner.train_dataloader)
            self._seen = 0

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Reseed for dropout, batch augmentation and random losses."""
        reseed(runner.seed, runner.rank, ITERATION, runner.iter)
        for loss in self._random_losses:
            loss.reseed(runner.seed, runner.rank, 0, runner.iter)

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Average gradients before a checkpoint in mid-epoch, which the first process writes."""
        if runner.distributed and checkpoint_is_due(runner):
            average_gradients(runner.model.parameters())

    def after_train_epoch(self, runner: Runner) -> None:
        """Average the gradients that no step has used."""
        self._in_epoch = False
        if runner.distributed:
            average_gradients(runner.model.parameters())

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Average gradients before the best checkpoint is written."""
        if runner.distributed:
            average_gradients(runner.model.parameters())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add this hook's state to a checkpoint that can be resumed from."""
        if "optimizer" not in checkpoint or self._sampler is None:
            return
        seen = checkpoint["meta"]["iter"] - self._epoch_start if self._in_epoch else 0
        checkpoint[KEY] = {
            "seen_batches": seen,
            "settings": batch_settings(runner),
            "sampler_seed": getattr(self._sampler.sampler, "seed", None),
            "gradients": {
                name: parameter.grad.cpu()
                for name, parameter in bare_model(runner).named_parameters()
                if parameter.grad is not None
            },
        }


def check_state(saved: Any, model: nn.Module) -> None:
    """Check the state that DeterministicResumeHook saved in a checkpoint.

    Raises:
        ValueError: a value is missing or of another type, or a gradient does not fit the model.
    """
    kinds = {"seen_batches": int, "settings": dict, "sampler_seed": int | None, "gradients": dict}
    for key, kind in kinds.items():
        if not isinstance(saved, dict) or key not in saved or not isinstance(saved[key], kind):
            raise ValueError(
                f"the checkpoint's {KEY}.{key} is missing or not what this package saves; resume "
                "from another checkpoint, or start from its weights with load_from"
            )
    gradients = saved["gradients"]
    known = {name: weight for name, weight in model.named_parameters() if name in gradients}
    check_same_shapes({name: gradients[name] for name in known}, known, "gradients")


def restore_gradients(model: nn.Module, gradients: dict[str, Tensor]) -> None:
    """Restore the gradients that were accumulated when a checkpoint was written."""
    for name, parameter in model.named_parameters():
        if name in gradients and parameter.requires_grad:
            parameter.grad = gradients[name].to(parameter.device)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients that no step has used over the processes.

    Since accumulation is linear, the mean gradient at the next step is unchanged.
    """
    parameters = list(parameters)
    device = parameters[0].device
    pending = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int, device=device)
    all_reduce(pending, op="max")
    used = [p for p, flag in zip(parameters, pending.tolist()) if flag]
    for parameter in used:
        if parameter.grad is None:  # unused in this process's batches
            parameter.grad = torch.zeros_like(parameter)
    if used:
        all_reduce_params([parameter.grad for parameter in used], op="mean")


def batch_settings(runner: Runner) -> dict[str, int]:
    """Return the settings that a resumed run must not change."""
    return {
        "processes": runner.world_size,
        "batch_size": batch_size_of(runner.train_dataloader),
        "batches_per_epoch": len(runner.train_dataloader),
        "accumulative_counts": getattr(runner.optim_wrapper, "_accumulative_counts", 1),
    }


def seen_batches(runner: Runner, saved: dict[str, Any] | None) -> int:
    """Return the number of batches of the epoch that a resumed run had seen.

    Raises:
        ValueError: it is unknown which batches they were.
    """
    loop, per_epoch = runner.train_loop, len(runner.train_dataloader)
    where = f"iteration {loop.iter} in epoch {loop.epoch + 1}"
    remedy = "resume from the checkpoint of an epoch's end (epoch_N.pth)"
    if saved is None:
        if loop.iter != loop.epoch * per_epoch:
            raise ValueError(
                f"cannot resume at {where} of {per_epoch} batches each: the checkpoint was written "
                "in mid-epoch, or with another batch size, by a run without "
                f"DeterministicResumeHook; {remedy}, or start from its weights (load_from)"
            )
        return 0
    changed = changed_settings(runner, saved)
    if saved["seen_batches"] and changed:
        raise ValueError(
            f"cannot resume in mid-epoch, at {where}, with other settings ({changed}): the batches "
            f"would differ; restore the settings, or {remedy}"
        )
    if saved["seen_batches"] and batch_size_of(runner.train_dataloader) == 0:
        sampler = type(runner.train_dataloader.batch_sampler).__name__
        raise ValueError(
            f"cannot resume in mid-epoch, at {where}: the batches of {sampler} have no fixed size "
            f"and cannot be skipped; {remedy}"
        )
    return saved["seen_batches"]


def changed_settings(runner: Runner, saved: dict[str, Any]) -> str:
    """List the settings that differ from the checkpoint's; empty when none differs."""
    now = batch_settings(runner)
    return ", ".join(
        f"{name} {before} → {now.get(name)}"
        for name, before in saved["settings"].items()
        if before != now.get(name)
    )


def warn(reason: str) -> None:
    """Log a warning that a resumed run will not equal the uninterrupted one."""
    print_log(
        f"the resumed run will not equal the uninterrupted one: {reason}",
        logger="current",
        level=logging.WARNING,
    )
