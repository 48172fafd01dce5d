"""Write files and figures about the predicted label sets after each validation or test."""

from pathlib import Path

import numpy as np
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner.base_loop import BaseLoop
from mmpretrain.registry import HOOKS

from mmorderless.datasets.class_names import class_names
from mmorderless.datasets.image_paths import image_backend
from mmorderless.metrics.label_set_metric import LabelSetMetric


@HOOKS.register_module()
class LabelSetReportHook(Hook):
    """Write co-occurrence, order statistics and annotated pictures after validation and test.

    The folder is `label_sets/val_epoch_N` (`val_iter_N` in an iteration-based training) or
    `label_sets/test` below the run's log folder; the pictures also go to the visualizer's
    backends. It contains

    - `cooccurrence.npz` and `cooccurrence.png`: in how many images two classes occur together;
    - `order.npz`, `label_at_step.png` and `pair_order.png`, where the predictions carry a
      `sequence`: how often a label is emitted at a step, and before another label;
    - `images/*.png`, pictures evenly spaced over the dataset: the predicted labels in order of
      emission, each with its `pred_score` and marked as right or wrong. Files that are not readable
      as a picture are skipped and logged.

    Both npz files have the names of the C `classes`, and the P `pairs` of class indices a < b that
    occur together, shape (P, 2). `cooccurrence.npz` has the image counts `predicted` and `truth` of
    each pair. `order.npz` has the image counts `before` of a before b and of b before a, shape
    (P, 2), `rigidness`, the share of the more frequent order in percent, and `count_at_step`, image
    counts of shape (T, C). `cooccurrence.png` and `pair_order.png` are left out for more than 1,000
    classes.

    The evaluation needs a `LabelSetMetric`, whose records the report is made of. Only the main
    process writes.

    Args:
        num_images: how many annotated pictures to write.
    """

    def __init__(self, num_images: int = 8) -> None:
        self.num_images = num_images

    def before_train(self, runner: Runner) -> None:
        """Reject an evaluator without a LabelSetMetric before training, not after an epoch."""
        if runner.val_loop is not None:
            label_set_metric(runner, "val")

    def before_test(self, runner: Runner) -> None:
        """Reject an evaluator without a LabelSetMetric."""
        label_set_metric(runner, "test")

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
        metric = label_set_metric(runner, split)
        if not is_main_process():
            return
        # Imported here, since matplotlib is slow to import and only the main process needs it.
        from mmorderless.engine.label_set_report import write_report

        records = metric.records
        dataset = getattr(runner, f"{split}_dataloader").dataset
        names = class_names(dataset)
        classes = [str(c) for c in names or range(metric.count_classes(records.scores))]
        folder = Path(runner.log_dir) / "label_sets" / name

        def show(name: str, rgb: np.ndarray) -> None:
            runner.visualizer.add_image(f"{split}_{name}", rgb, step)

        unreadable = write_report(
            records, classes, folder, self.num_images, show, image_backend(dataset)
        )
        if unreadable:
            print_log(
                f"{type(self).__name__}: {len(unreadable)} of the images to annotate are not "
                f"readable as a picture and are left out, first {unreadable[0]!r}",
                logger="current",
            )
        print_log(f"{type(self).__name__}: report written to {folder}", logger="current")


def label_set_metric(runner: Runner, split: str) -> LabelSetMetric:
    """Return the LabelSetMetric of an evaluator, or raise a ValueError."""
    metrics = getattr(runner, f"{split}_evaluator").metrics
    metric = next((m for m in metrics if isinstance(m, LabelSetMetric)), None)
    if metric is None:
        raise ValueError(
            f"LabelSetReportHook needs a LabelSetMetric, but {split}_evaluator has "
            f"{[type(m).__name__ for m in metrics]}; add dict(type='LabelSetMetric') to it, or "
            "remove the hook"
        )
    return metric
