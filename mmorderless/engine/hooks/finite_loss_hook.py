"""Stop a training whose loss or weights are no longer finite."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.dist import all_gather_object, all_reduce
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from mmorderless.engine.hooks.bare_model import bare_model

REMEDY = (
    "lower the learning rate, clip the gradients (optim_wrapper.clip_grad=dict(max_norm=1.0)) or "
    "train without --amp, and continue from the last checkpoint (--resume)"
)
SHOWN = 3
"""Number of paths in an error."""


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop at the first loss that is not finite, before anything is saved.

    The optimizer has then made its step: the weights in memory are lost, those on disk are not. A
    loss scaler (`AmpOptimWrapper`) lets gradients overflow and skips their step; the loss itself is
    not scaled, so that one that overflows is an error with a scaler too. mmengine reads every loss
    in every iteration for its log, so that reading it here makes no device wait. The tools add this
    hook to every training.
    """

    priority = "VERY_HIGH"  # before anything that averages or saves

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Mapping[str, Any] | None = None,
    ) -> None:
        """Check the losses of an iteration.

        Raises:
            ValueError: one is not finite, in any process; every process raises the same.
        """
        losses = {
            name: torch.as_tensor(value).detach().sum().item()
            for name, value in (outputs or {}).items()
            if "loss" in name
        }
        not_finite = [f"{n} is {loss}" for n, loss in losses.items() if not math.isfinite(loss)]
        problem = ""
        if not_finite:
            where = f"iteration {runner.iter + 1} (epoch {runner.epoch + 1})"
            problem = f"{', '.join(not_finite)} in {where}, {cause(data_batch)}"
        if runner.distributed:
            found = torch.tensor(bool(problem), dtype=torch.int)
            all_reduce(found, op="max")
            if found:
                problem = next(filter(None, all_gather_object(problem)))
        if problem:
            raise ValueError(problem)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Check the weights: a finite loss may have gradients that are not.

        Raises:
            ValueError: a weight is not finite.
        """
        for name, weight in bare_model(runner).named_parameters():
            if not weight.isfinite().all():
                raise ValueError(
                    f"the weight {name} is not finite, and no checkpoint is written; {REMEDY}"
                )


def cause(data_batch: Any) -> str:
    """Name the images with values that are not finite or, without any, those of the batch.

    Args:
        data_batch: what a dataloader gave: `inputs`, shape (B, …) or B tensors, and B
            `data_samples`.
    """
    batch = data_batch if isinstance(data_batch, Mapping) else {}
    samples = batch.get("data_samples") or []
    paths = [str(sample.get("img_path")) for sample in samples]
    faulty = [
        path
        for path, image, sample in zip(paths, batch.get("inputs", []), samples)
        if not (_is_finite(image) and _is_finite(sample.get("gt_score")))
    ]
    if faulty:
        return f"because values or scores of {_first(faulty)} are not finite; correct or remove it"
    return f"with {_first(paths)}; {REMEDY}" if paths else f"after a finite one; {REMEDY}"


def _is_finite(value: Any) -> bool:
    return not isinstance(value, torch.Tensor) or bool(value.isfinite().all())


def _first(paths: Sequence[str]) -> str:
    others = len(paths) - SHOWN
    return ", ".join(paths[:SHOWN]) + (f" and {others} others" if others > 0 else "")
