"""Reject a run whose splits, checkpoint and model do not have the same classes."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from mmorderless.datasets.class_names import class_names, compare_names, compare_number
from mmorderless.engine.hooks.bare_model import bare_model
from mmorderless.runs.trained_model import trained_classes


@HOOKS.register_module()
class ClassNamesMatchHook(Hook):
    """Compare the class names of training, validation, test and checkpoint, and the head's size.

    If two splits give the same index to different classes, every score is wrong without an error.
    A head with too many classes fails only when it is validated. Datasets without class names are
    not compared, nor are heads without `num_classes` (MultiTaskHead has several heads with their
    own classes). The tools add this hook to every run.
    """

    def __init__(self) -> None:
        self._checkpoint_names: Sequence[str] | None = None

    def before_train(self, runner: Runner) -> None:
        """Compare the training set with the checkpoint to resume from, validation set and head.

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
        """Keep the class names that the checkpoint was trained with."""
        self._checkpoint_names = trained_classes(checkpoint)

    def before_test(self, runner: Runner) -> None:
        """Compare the test set with the checkpoint and the head.

        Raises:
            ValueError: their classes differ.
        """
        tested = class_names(runner.test_dataloader.dataset)
        compare_names(self._checkpoint_names, tested, "test set")
        compare_number(bare_model(runner), tested, "test set")
