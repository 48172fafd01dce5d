"""Tell losses and heads the training set's labels and the progress of training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from mmorderless.datasets.partition import REPEATING_WRAPPERS
from mmorderless.engine.hooks.bare_model import bare_model
from mmorderless.models.losses.missing_labels import SPLCLoss
from mmorderless.models.losses.sampling import RandomDraws
from mmorderless.models.training_labels import NeedsTrainingLabels
from mmorderless.runs.methods import check_applied


@HOOKS.register_module()
class TrainingContextHook(Hook):
    """Tell losses and heads what they cannot know: labels, a random seed and the epoch.

    The labels of the training set are for those that inherit from `NeedsTrainingLabels` (whose
    config may give values instead), seeds for those that inherit from `RandomDraws`, the epoch for
    `SPLCLoss`. An image counts once, however often a wrapper of the dataset repeats it.
    """

    def before_run(self, runner: Runner) -> None:
        """Reject a config whose `method` was not applied."""
        check_applied(runner.cfg)

    def before_train(self, runner: Runner) -> None:
        """Give each part that needs them the class names and label sets of the training set.

        Raises:
            ValueError: the training set has no class names, or no list of labels per image.
        """
        parts = [
            part for part in modules_of(runner, NeedsTrainingLabels) if part.needs_training_labels
        ]
        if not parts:
            return
        dataset = runner.train_dataloader.dataset
        while type(dataset).__name__ in REPEATING_WRAPPERS:
            dataset = dataset.dataset
        remedy = parts[0].alternative
        if not hasattr(dataset, "get_data_info"):
            raise ValueError(
                f"the labels of {type(dataset).__name__} cannot be counted (no get_data_info); "
                f"{remedy}"
            )
        classes = dataset.metainfo.get("classes")
        if classes is None:
            raise ValueError(
                f"{type(dataset).__name__} has no class names to count labels by; give it "
                f"metainfo=dict(classes=[...]), or {remedy}"
            )
        label_sets = [dataset.get_data_info(i)["gt_label"] for i in range(len(dataset))]
        if any(not isinstance(labels, Sequence | np.ndarray) for labels in label_sets):
            raise ValueError(
                f"{type(dataset).__name__} does not give one list of labels per image; {remedy}"
            )
        device = next(bare_model(runner).parameters()).device
        for part in parts:
            part.set_label_sets(classes, label_sets)
            part.to(device)

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the epoch; reseed from the run's seed, the rank and the progress of training.

        The iteration matters too: a loop that counts iterations has one epoch, and must not repeat
        its random numbers when it is resumed.
        """
        for loss in modules_of(runner, RandomDraws):
            loss.reseed(runner.seed or 0, runner.rank, runner.epoch, runner.iter)
        for loss in modules_of(runner, SPLCLoss):
            loss.epoch = runner.epoch


def modules_of(runner: Runner, kind: type) -> list[Any]:
    """Return every module of a kind in the runner's model."""
    return [module for module in bare_model(runner).modules() if isinstance(module, kind)]
