"""Stops a run whose splits, checkpoint or model mean different classes by the same index."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from mmorderless.datasets.class_names import class_names, compare_names, compare_number
from mmorderless.engine.hooks.bare_model import bare_model


@HOOKS.register_module()
class ClassNamesMatchHook(Hook):
    """Compare the class names of training, validation, test and checkpoint, and the head's size.

    A class index says nothing by itself: two splits that sort different names give every score,
    and all of them wrong. A head with too many classes trains until it is validated. What has no
    names is not compared, nor is a head that has no `num_classes` (MultiTaskHead has several heads,
    each with classes of its own). The tools add this hook to every run.
    """

    def __init__(self) -> None:
        self._checkpoint_names: Sequence[str] | None = None

    def before_train(self, runner: Runner) -> None:
        """Compare the training set with checkpoint to resume from, validation set and head.

        Raises:
            ValueError: their classes differ.
        """
        trained = class_names(runner.train_dataloader.dataset)
        if runner._resume:
            compare_names(self._checkpoint_names, trained, "training set to resume with")
        if runner.val_loop is not None:
            compare_names(trained, class_names(runner.val_dataloader.dataset), "validation set")
        compare_number(bare_model(runner), trained, "training set")

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the names that the checkpoint was trained with."""
        meta = checkpoint.get("meta", {}).get("dataset_meta") or {}
        self._checkpoint_names = meta.get("classes")

    def before_test(self, runner: Runner) -> None:
        """Compare the test set with checkpoint and head.

        Raises:
            ValueError: their classes differ.
        """
        tested = class_names(runner.test_dataloader.dataset)
        compare_names(self._checkpoint_names, tested, "test set")
        compare_number(bare_model(runner), tested, "test set")
