"""Reject a run whose splits, checkpoint and model do not have the same classes."""

import logging
from collections.abc import Sequence

import torch
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS

from mmorderless.datasets.class_names import class_names, compare_names, compare_number, difference
from mmorderless.engine.hooks.bare_model import bare_model
from mmorderless.models.weights import trained_classes, weights_of


@HOOKS.register_module()
class ClassNamesMatchHook(Hook):
    """Compare the class names of training, validation, test and checkpoint, and the head's size.

    If two splits give the same index to different classes, every score is wrong without an error.
    A head with too many classes fails only when it is validated. Datasets without class names are
    not compared, nor are heads without `num_classes` (MultiTaskHead has several heads with their
    own classes). Weights to start from may have other classes: if they fit the head, its rows
    belong to other classes, which is a warning. The tools add this hook to every run.
    """

    def __init__(self) -> None:
        self._checkpoint_names: Sequence[str] | None = None
        self._head_shapes: dict[str, torch.Size] = {}

    def before_train(self, runner: Runner) -> None:
        """Compare the training set with the checkpoint to resume from, validation set and head.

        Raises:
            ValueError: their classes differ, or the teacher's of a model that is distilled.
        """
        trained = class_names(runner.train_dataloader.dataset)
        if runner._resume:
            compare_names(self._checkpoint_names, trained, "training set to resume with")
        else:
            self._warn_of_other_classes(runner, trained)
        if runner.val_loop is not None:
            compare_names(trained, class_names(runner.val_dataloader.dataset), "validation set")
        model = bare_model(runner)
        compare_number(model, trained, "training set")
        if differs := difference(getattr(model, "teacher_classes", None), trained):
            raise ValueError(
                f"the teacher was trained on other classes than the training set: {differs}; train "
                "it on the same classes in the same order"
            )

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the class names that the checkpoint was trained with, and its head's shapes."""
        self._checkpoint_names = trained_classes(checkpoint)
        self._head_shapes = {
            name: tensor.shape
            for name, tensor in weights_of(checkpoint).items()
            if name.startswith("head.")
        }

    def _warn_of_other_classes(self, runner: Runner, trained: Sequence[str] | None) -> None:
        before, now = self._checkpoint_names or [], trained or []
        model = bare_model(runner).state_dict()
        kept = any(
            name in model and model[name].shape == shape
            for name, shape in self._head_shapes.items()
        )
        if kept and len(before) == len(now) and (differs := difference(before, now)):
            print_log(
                f"the head starts from the weights of other classes, those of {runner._load_from}: "
                f"{differs}; to start from the backbone alone, set model.backbone.init_cfg="
                "dict(type='Pretrained', checkpoint=..., prefix='backbone') instead of load_from",
                logger="current",
                level=logging.WARNING,
            )

    def before_test(self, runner: Runner) -> None:
        """Compare the test set with the checkpoint and the head.

        Raises:
            ValueError: their classes differ.
        """
        tested = class_names(runner.test_dataloader.dataset)
        compare_names(self._checkpoint_names, tested, "test set")
        compare_number(bare_model(runner), tested, "test set")
