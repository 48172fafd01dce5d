"""Stops a run whose splits, checkpoint or model mean different classes by the same index."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from torch import nn
from torch.utils.data import Dataset

from .bare_model import bare_model


@HOOKS.register_module()
class ClassNamesMatchHook(Hook):
    """Compare the class names of training, validation, test and checkpoint, and the head's size.

    A class index says nothing by itself: two splits that sort different names give every score,
    and all of them wrong. A head with too many classes trains until it is validated. What has no
    names is not compared, nor is a head that has no `num_classes` (MultiTaskHead has several heads,
    each with classes of its own). `mmorderless.launch` adds this hook to every run.
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


def class_names(dataset: Dataset) -> Sequence[str] | None:
    """Class names of a dataset, None where it has none."""
    return getattr(dataset, "metainfo", {}).get("classes")


def compare_names(trained: Sequence[str] | None, used: Sequence[str] | None, what: str) -> None:
    """Raise a ValueError when two lists of names differ; None matches everything.

    Args:
        trained: names of the training set.
        used: names of the set that is about to be used.
        what: how the error calls it.
    """
    if trained is None or used is None or list(trained) == list(used):
        return
    index = next(
        (i for i, (a, b) in enumerate(zip(trained, used)) if a != b), min(len(trained), len(used))
    )
    name, name_in_training = (
        names[index] if index < len(names) else None for names in (used, trained)
    )
    raise ValueError(
        f"the {what} has {len(used)} classes, training had {len(trained)}, and class {index} is "
        f"{name!r} instead of {name_in_training!r}; give every split the same classes "
        "(CsvMultiLabel: classes_from=TRAIN.csv)"
    )


def compare_number(model: nn.Module, names: Sequence[str] | None, what: str) -> None:
    """Raise a ValueError when a classifier's head has not one class per name.

    Args:
        model: a classifier; one without `head.num_classes` matches everything.
        names: class names of a dataset; None matches everything.
        what: how the error calls the dataset.
    """
    num_classes = getattr(getattr(model, "head", None), "num_classes", None)
    if num_classes is None or names is None or num_classes == len(names):
        return
    raise ValueError(
        f"the model has {num_classes} classes, the {what} has {len(names)}; set "
        f"model.head.num_classes={len(names)}, and data_preprocessor.num_classes where it is given"
    )
