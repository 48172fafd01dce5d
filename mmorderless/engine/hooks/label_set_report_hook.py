"""Write files and figures about the predicted label sets after each validation or test."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner.base_loop import BaseLoop
from mmpretrain.registry import HOOKS

from mmorderless.datasets.class_names import class_names
from mmorderless.metrics.label_set_metric import LabelSetMetric


@HOOKS.register_module()
class LabelSetReportHook(Hook):
    """Write co-occurrence, order statistics and annotated pictures after validation and test.

    The folder is `label_sets/val_epoch_N` (`val_iter_N` in an iteration-based training) or
    `label_sets/test` below the run's log folder; the pictures also go to the visualizer's
    backends. It contains

    - `cooccurrence.npz` (predicted, truth, difference: image counts of shape (C, C); classes) and
      `cooccurrence.png`;
    - `order.npz` (count_at_step and share_at_step in percent of shape (T, C); before, image counts,
      and rigidness in percent per pair of shape (C, C); classes), `label_at_step.png` and
      `pair_order.png`, where the predictions carry a `sequence`;
    - `images/*.png`, pictures evenly spaced over the dataset: the predicted labels in order of
      emission, each with its `pred_score` and marked as right or wrong. Files that are not readable
      as a picture are skipped and logged.

    With more than 1,000 classes the counts of pairs are lists, not (C, C) arrays, and
    `cooccurrence.png` and `pair_order.png` are left out: both npz hold `pairs`, class indices a < b
    of shape (P, 2), of those pairs only that occur; `cooccurrence.npz` has predicted, truth and
    difference of shape (P,), `order.npz` has before of shape (P, 2), the counts of a before b and
    of b before a, and rigidness of shape (P,).

    The evaluation needs a `LabelSetMetric`, whose records the report is made of. Only the main
    process writes.

    Args:
        num_images: how many annotated pictures to write.
    """

    def __init__(self, num_images: int = 8) -> None:
        self.num_images = num_images

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the report of a validation."""
        # Runner.epoch would build the training loop, with its dataset, in a mere validation.
        loop = runner._train_loop if isinstance(runner._train_loop, BaseLoop) else None
        by_iter = isinstance(loop, IterBasedTrainLoop)
        step = 0 if loop is None else loop.iter if by_iter else loop.epoch
        self._report(runner, "val", f"val_{'iter' if by_iter else 'epoch'}_{step}", step)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the report of a test."""
        self._report(runner, "test", "test", 0)

    def _report(self, runner: Runner, split: str, name: str, step: int) -> None:
        metrics = getattr(runner, f"{split}_evaluator").metrics
        metric = next((m for m in metrics if isinstance(m, LabelSetMetric)), None)
        if metric is None:
            raise ValueError(
                f"LabelSetReportHook needs a LabelSetMetric, but {split}_evaluator has "
                f"{[type(m).__name__ for m in metrics]}; add dict(type='LabelSetMetric') to it, or "
                "remove the hook"
            )
        if not is_main_process():
            return
        # Imported here, since matplotlib is slow to import and only the main process needs it.
        from mmorderless.engine.label_set_report import write_report

        records = metric.records
        names = class_names(getattr(runner, f"{split}_dataloader").dataset)
        classes = [str(c) for c in names or range(metric.count_classes(records.scores))]
        folder = Path(runner.log_dir) / "label_sets" / name

        def show(name: str, rgb: np.ndarray) -> None:
            runner.visualizer.add_image(f"{split}_{name}", rgb, step)

        unreadable = write_report(records, classes, folder, self.num_images, show)
        if unreadable:
            print_log(
                f"{type(self).__name__}: {len(unreadable)} of the images to annotate are not "
                f"readable as a picture and are left out, first {unreadable[0]!r}",
                logger="current",
            )
        print_log(f"{type(self).__name__}: report written to {folder}", logger="current")
