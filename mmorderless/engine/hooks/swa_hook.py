"""Stochastic weight averaging: average the weights at the lowest points of the learning rate.

The optimizer changes the "raw" weights; the "averaged" weights are the mean of the snapshots.
"""

import copy
from functools import partial, wraps
from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmorderless.engine.batch_norm import (
    estimate_batch_norm,
    named_statistics,
    preserved_modes,
    trained_batch_norms,
)
from mmorderless.engine.hooks.bare_model import bare_model
from mmorderless.engine.schedules.sawtooth import CYCLE
from mmorderless.engine.schedules.updates import after_each_update
from mmorderless.engine.seeding import preserved_random_state, reseed, seed_samples
from mmorderless.models.weights import check_same_shapes


@HOOKS.register_module()
class SWAHook(Hook):
    """Average the weights after updates 4, 8, 12, …, and validate and save the average.

    Use it with `SawtoothLR`, which has its lowest rate at these updates (counted from 1; an update
    is not a batch, see `after_each_update`).

    - Parameters are summed in float64, on every process, and all snapshots have the same weight. In
      the released code, where one counter serves encoder and decoder, snapshot k has a weight of
      about 1/√k, and the encoder's average starts from the plain ImageNet weights.
    - The averaged weights get their own batch-norm statistics, as `torch.optim.swa_utils.update_bn`
      estimates them: mean and variance averaged over training batches and over processes. They are
      estimated when averaged weights are first validated or saved, from `extract_feat` on batches
      of a second dataloader (the released code makes a second forward pass per iteration). The
      running epoch and the random state are not changed. Layers that the model keeps in evaluation
      mode during training keep their statistics.
    - Validation uses the averaged weights; before the first snapshot it uses the raw weights and
      logs this.
    - A checkpoint's `state_dict` holds the averaged weights. For resuming, `swa` holds `raw` (a
      state_dict), `sum` (float64, by name), `count` and `updates`. A checkpoint without optimizer
      state (the best one) cannot be resumed from and has no `swa`.
    - After training the model holds the averaged weights.

    Args:
        begin: number of updates before the first snapshot; 0 as in the released code, the paper
            does not say when averaging begins. A short run should begin in its last third, since
            early, random weights ruin the average.
        bn_batches: most batches per process to estimate batch norm on.

    Raises:
        ValueError: `begin` is negative, or `bn_batches` not positive.
    """

    # After BufferAgreementHook (50), which averages the raw statistics; before CheckpointHook (90).
    priority = 55

    def __init__(self, begin: int = 0, bn_batches: int = 128) -> None:
        if begin < 0 or bn_batches < 1:
            raise ValueError(
                f"begin must be at least 0 and bn_batches at least 1, got {begin} and {bn_batches}"
            )
        self.begin = begin
        self.bn_batches = bn_batches
        self.updates = 0
        self.count = 0
        self._training = False
        self._sums: dict[str, Tensor] = {}
        self._raw: dict[str, Tensor] = {}  # set while the model holds the averaged weights
        self._statistics: dict[str, Tensor] | None = None  # None: to be estimated
        self._loader: DataLoader | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the raw weights and the sum of snapshots when resuming.

        Raises:
            ValueError: the checkpoint holds no SWA state, or one that does not fit the model.
        """
        if not runner._resume:
            return
        swa = checkpoint.get("swa")
        counters = [swa.get(key) for key in ("updates", "count")] if isinstance(swa, dict) else []
        if not counters or not all(isinstance(number, int) for number in counters):
            raise ValueError(
                "the checkpoint to resume from holds no SWA state, only averaged weights or those "
                "of a run without SWAHook; resume from an epoch_N.pth or iter_N.pth of this run, "
                "or start from its weights with load_from"
            )
        self.updates, self.count = counters
        if self.count:
            model = bare_model(runner)
            check_same_shapes(swa.get("sum"), named_weights(model), "sums of SWA snapshots")
            state, raw = model.state_dict(), swa.get("raw") or {}
            # A loss may have saved label counts that this model's loss is still to be given.
            raw = {name: raw[name] for name in state if name in raw}
            check_same_shapes(raw, state, "raw weights (swa)")
            self._sums = swa["sum"]
            checkpoint["state_dict"] = swa["raw"]

    def before_train(self, runner: Runner) -> None:
        """Observe the optimizer's updates and the saving of checkpoints."""
        model = bare_model(runner)
        device_of = {name: weight.device for name, weight in named_weights(model).items()}
        self._sums = {name: total.to(device_of[name]) for name, total in self._sums.items()}
        after_each_update(runner.optim_wrapper, partial(self._after_update, model))

        save = runner.save_checkpoint

        # mmengine calls `before_save_checkpoint` on the first process only but `save_checkpoint` on
        # all processes, which estimating batch norm needs.
        @wraps(save)
        def estimate_and_save(*args: Any, **kwargs: Any) -> None:
            self._estimate_batch_norm(runner)
            save(*args, **kwargs)

        runner.save_checkpoint = estimate_and_save
        self._training = True

    def _after_update(self, model: nn.Module) -> None:
        """Take a snapshot if one is due."""
        self.updates += 1
        if self.updates % CYCLE or self.updates < self.begin:
            return
        for name, weight in named_weights(model).items():
            if name in self._sums:
                self._sums[name].add_(weight.detach())
            else:
                self._sums[name] = weight.detach().to(torch.float64, copy=True)
        self.count += 1
        self._statistics = None

    def before_val_epoch(self, runner: Runner) -> None:
        """Put the averaged weights into the model."""
        if not self._training:
            return
        if not self.count:
            first = -(-max(self.begin, CYCLE) // CYCLE) * CYCLE
            runner.logger.info(
                f"SWAHook: no snapshot after {self.updates} updates (the first is taken after "
                f"update {first}); validating the raw weights"
            )
            return
        self._estimate_batch_norm(runner)
        self._load_average(bare_model(runner))
        runner.logger.info(f"SWAHook: validating the average of {self.count} snapshots")

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Restore the raw weights."""
        if self._training:
            self._restore_raw(bare_model(runner))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Save the averaged weights as `state_dict`, and the state for resuming as `swa`."""
        if not self._training:
            return
        state = checkpoint["state_dict"]
        swa: dict[str, Any] = dict(updates=self.updates, count=self.count)
        if self.count:
            swa["raw"] = copy.copy(state)
            swa["raw"].update({name: tensor.cpu() for name, tensor in self._raw.items()})
            swa["sum"] = {name: total.cpu() for name, total in self._sums.items()}
            for name, tensor in self._average().items():
                state[name] = tensor.to(state[name].dtype).cpu()
        if "optimizer" in checkpoint:
            checkpoint["swa"] = swa

    def after_train(self, runner: Runner) -> None:
        """Leave the averaged weights in the model."""
        if self.count:
            self._estimate_batch_norm(runner)
            self._load_average(bare_model(runner))
            self._raw = {}
        else:
            runner.logger.warning(
                f"SWAHook: the training ended after {self.updates} updates without a snapshot "
                f"(begin={self.begin}, then every {CYCLE}th); its weights are the raw ones"
            )
        self._training = False

    def _average(self) -> dict[str, Tensor]:
        """Return the averaged parameters (float64) and their batch-norm statistics by name."""
        assert self._statistics is not None
        return {name: total / self.count for name, total in self._sums.items()} | self._statistics

    @torch.no_grad()
    def _load_average(self, model: nn.Module) -> None:
        tensors = named_weights(model) | named_statistics(model)
        self._raw = {name: tensor.detach().clone() for name, tensor in tensors.items()}
        for name, tensor in self._average().items():
            tensors[name].copy_(tensor)

    @torch.no_grad()
    def _restore_raw(self, model: nn.Module) -> None:
        tensors = named_weights(model) | named_statistics(model)
        for name, tensor in self._raw.items():
            tensors[name].copy_(tensor)
        self._raw = {}

    def _estimate_batch_norm(self, runner: Runner) -> None:
        """Estimate the averaged weights' statistics if they are unknown, on every process."""
        if not self.count or self._statistics is not None:
            return
        model = bare_model(runner)
        self._statistics = {}
        devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
        # Seeded, so that a resumed run estimates the same statistics.
        with preserved_random_state(devices), preserved_modes(model):
            reseed(runner.seed, runner.rank)
            model.train()  # the model itself keeps frozen layers in evaluation mode
            if not trained_batch_norms(model):
                return
            if self._loader is None:
                self._loader = build_loader(runner)
            self._load_average(model)
            self._statistics = estimate_batch_norm(model, self._loader, self.bn_batches)
            self._restore_raw(model)


def named_weights(model: nn.Module) -> dict[str, nn.Parameter]:
    """Return a model's parameters by name; a shared parameter appears under each of its names."""
    return dict(model.named_parameters(remove_duplicate=False))


def build_loader(runner: Runner) -> DataLoader:
    """Build a second loader of the training set that gives the same samples each time.

    Raises:
        ValueError: the training loader has no fixed batch size.
    """
    if not runner.cfg.train_dataloader.get("batch_size"):
        raise ValueError(
            "SWAHook estimates batch norm on batches of a fixed size; give train_dataloader a "
            "batch_size and a sampler instead of a batch_sampler"
        )
    config = copy.deepcopy(runner.cfg.train_dataloader)
    config.sampler = dict(type="DefaultSampler", shuffle=True)
    config.persistent_workers = False
    diff_rank_seed = runner._randomness_cfg.get("diff_rank_seed", False)
    loader = runner.build_dataloader(config, seed=runner.seed, diff_rank_seed=diff_rank_seed)
    seed_samples(loader, runner.seed)  # independent of the number of workers
    return loader
