"""Give fixed-order losses the training set's label counts, and reseed random losses."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from mmorderless.engine.hooks.bare_model import bare_model
from mmorderless.labels.fixed_orders import count_labels
from mmorderless.models.losses.aligned import FixedOrderLoss
from mmorderless.models.losses.sampling import RandomDraws
from mmorderless.runs.methods import check_applied


@HOOKS.register_module()
class LabelOrderHook(Hook):
    """Count the training set's labels for fixed orders, and reseed losses that draw random numbers.

    A `FixedOrderLoss` whose config has classes and counts keeps them. Random losses are those that
    inherit from `RandomDraws`.
    """

    def before_run(self, runner: Runner) -> None:
        """Reject a config whose `method` was not applied."""
        check_applied(runner.cfg)

    def before_train(self, runner: Runner) -> None:
        """Give the class names and image counts of the training set to each fixed-order loss.

        Raises:
            ValueError: the training set has no class names, or no list of labels per image.
        """
        losses = [loss for loss in modules_of(runner, FixedOrderLoss) if loss.needs_training_labels]
        if not losses:
            return
        dataset = runner.train_dataloader.dataset
        remedy = "give each FixedOrderLoss its classes and counts in the config"
        if not hasattr(dataset, "get_data_info"):
            raise ValueError(
                f"the labels of {type(dataset).__name__} cannot be counted (no get_data_info); "
                f"{remedy}"
            )
        classes = dataset.metainfo.get("classes")
        if classes is None:
            raise ValueError(
                f"{type(dataset).__name__} has no class names to order labels by; give it "
                f"metainfo=dict(classes=[...]), or {remedy}"
            )
        label_sets = [dataset.get_data_info(i)["gt_label"] for i in range(len(dataset))]
        if any(not isinstance(labels, Sequence | np.ndarray) for labels in label_sets):
            raise ValueError(
                f"{type(dataset).__name__} does not give one list of labels per image; {remedy}"
            )
        counts = count_labels(label_sets, len(classes))
        for loss in losses:
            loss.set_training_labels(classes, counts)

    def before_train_epoch(self, runner: Runner) -> None:
        """Reseed random losses from the run's seed, the rank and the progress of training.

        The iteration matters too: a loop that counts iterations has one epoch, and must not repeat
        its random numbers when it is resumed.
        """
        for loss in modules_of(runner, RandomDraws):
            loss.reseed(runner.seed or 0, runner.rank, runner.epoch, runner.iter)


def modules_of(runner: Runner, kind: type) -> list[Any]:
    """Return every module of a kind in the runner's model."""
    return [module for module in bare_model(runner).modules() if isinstance(module, kind)]
