"""Check the labels of the training set before training starts."""

import logging
from typing import Any

import numpy as np
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS
from torch.utils.data import Dataset

from mmorderless.datasets.class_names import class_names
from mmorderless.datasets.label_checks import (
    classes_without_image,
    labelless_problem,
    steps_problem,
)
from mmorderless.datasets.partition import REPEATING_WRAPPERS
from mmorderless.engine.hooks.bare_model import bare_model
from mmorderless.labels.fixed_orders import count_labels

SHOWN = 5
"""Number of class names in a warning."""


@HOOKS.register_module()
class TrainingLabelsHook(Hook):
    """Check the label sets of the training set before training, which would fail hours later.

    Datasets whose records have no `gt_label` (a number or a list of numbers) are not checked. The
    tools add this hook to every training.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the labels of all images, and log a warning of classes without an image.

        Raises:
            ValueError: there is no label, or the label set of an image does not fit into the head's
                steps.
        """
        dataset = runner.train_dataloader.dataset
        while type(dataset).__name__ in REPEATING_WRAPPERS:
            dataset = dataset.dataset
        if not hasattr(dataset, "get_data_info"):
            return
        records = [dataset.get_data_info(i) for i in range(len(dataset))]
        label_sets = [label_set(record.get("gt_label")) for record in records]
        if not label_sets or None in label_sets:
            return
        names = class_names(dataset)
        number = max(map(max, filter(None, label_sets)), default=0) + 1
        counts = count_labels(label_sets, number if names is None else len(names))
        if problem := labelless_problem(counts, described(dataset)):
            raise ValueError(problem)
        max_steps = getattr(getattr(bare_model(runner), "head", None), "max_steps", None)
        if max_steps is not None:
            images = [str(record.get("img_path")) for record in records]
            if problem := steps_problem(label_sets, images, max_steps):
                raise ValueError(problem)
        if missing := classes_without_image(counts, names or range(number)):
            more = f" and {len(missing) - SHOWN} others" if len(missing) > SHOWN else ""
            print_log(
                f"{len(missing)} of {len(counts)} classes have no training image: "
                f"{', '.join(map(str, missing[:SHOWN]))}{more}; a model cannot learn them",
                logger="current",
                level=logging.WARNING,
            )


def label_set(labels: Any) -> list[int] | None:
    """Return a record's labels as a list, None if they are not class indices."""
    labels = labels.tolist() if isinstance(labels, np.ndarray | np.integer) else labels
    if isinstance(labels, int):
        return [labels]
    is_list = isinstance(labels, list | tuple) and all(isinstance(c, int) for c in labels)
    return list(labels) if is_list else None


def described(dataset: Dataset) -> str:
    """Return the types of the datasets within a wrapper, with their annotation file or folder."""
    inner = getattr(dataset, "datasets", [getattr(dataset, "dataset", dataset)])
    sources = [getattr(d, "ann_file", "") or getattr(d, "data_root", "") for d in inner]
    parts = [f"{type(d).__name__} {source}" for d, source in zip(inner, sources)]
    return f"the training set ({', '.join(parts)})"
