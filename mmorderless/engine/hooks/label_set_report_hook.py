"""Files and figures about the predicted label sets, after each validation or test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import collect_results, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner.base_loop import BaseLoop
from mmengine.structures import BaseDataElement
from mmpretrain.registry import HOOKS
from torch.utils.data import Dataset

from mmorderless.metrics.records import as_labels, as_scores


@HOOKS.register_module()
class LabelSetReportHook(Hook):
    """Write co-occurrence, order statistics and annotated pictures after validation and test.

    The folder is `label_sets/val_epoch_N` (`val_iter_N` in an iteration-based training) or
    `label_sets/test` below the run's log folder; the pictures also go to the visualizer's
    backends. Written are

    - `cooccurrence.npz` (predicted, truth, difference: image counts of shape (C, C); classes) and
      `cooccurrence.png`;
    - `order.npz` (count_at_step and share_at_step in percent of shape (T, C); before, image counts,
      and rigidness in percent per pair of shape (C, C); classes), `label_at_step.png` and
      `pair_order.png`, where the predictions carry a `sequence`;
    - `images/*.png`, pictures evenly spaced over the dataset with their predicted labels marked as
      right or wrong. Files that are not readable as a picture are skipped and logged.

    With more than 1,000 classes the counts of pairs are lists, not (C, C) arrays, and
    `cooccurrence.png` and `pair_order.png` are left out: both npz hold `pairs`, class indices a < b
    of shape (P, 2), of those pairs only that occur; `cooccurrence.npz` has predicted, truth and
    difference of shape (P,), `order.npz` has before of shape (P, 2), the counts of a before b and
    of b before a, and rigidness of shape (P,).

    With several processes the predictions are gathered, and only the first process writes.

    Args:
        num_images: how many annotated pictures to write.
    """

    def __init__(self, num_images: int = 8) -> None:
        self.num_images = num_images
        self._records: list[dict[str, Any]] = []

    def before_val_epoch(self, runner: Runner) -> None:
        """Forget what an interrupted evaluation has left."""
        self._records = []

    def before_test_epoch(self, runner: Runner) -> None:
        """Forget what an interrupted evaluation has left."""
        self._records = []

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[BaseDataElement] | None = None,
    ) -> None:
        """Collect the batch's predictions."""
        self._records.extend(make_record(sample) for sample in outputs or ())

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: Sequence[BaseDataElement] | None = None,
    ) -> None:
        """Collect the batch's predictions."""
        self._records.extend(make_record(sample) for sample in outputs or ())

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the report of a validation."""
        # Runner.epoch would build the training loop, with its dataset, in a mere validation.
        loop = runner._train_loop if isinstance(runner._train_loop, BaseLoop) else None
        by_iter = isinstance(loop, IterBasedTrainLoop)
        step = 0 if loop is None else loop.iter if by_iter else loop.epoch
        name = f"val_{'iter' if by_iter else 'epoch'}_{step}"
        self._report(runner, runner.val_dataloader.dataset, name, "val", step)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        """Write the report of a test."""
        self._report(runner, runner.test_dataloader.dataset, "test", "test", 0)

    def _report(self, runner: Runner, dataset: Dataset, name: str, split: str, step: int) -> None:
        # "gpu" exchanges objects through the process group (gloo too) instead of temporary files;
        # padded images are cut off. Only the first process gets the results.
        records = collect_results(self._records, len(dataset), device="gpu")
        self._records = []
        if not is_main_process() or not records:
            return
        folder = Path(runner.log_dir) / "label_sets" / name
        # Imported here, since matplotlib is slow to import and needed by the first process alone.
        from mmorderless.engine.label_set_report import write_report

        def show(name: str, rgb: np.ndarray) -> None:
            runner.visualizer.add_image(f"{split}_{name}", rgb, step)

        classes = class_names(getattr(dataset, "metainfo", {}).get("classes"), records)
        unreadable = write_report(records, classes, folder, self.num_images, show)
        if unreadable:
            print_log(
                f"{type(self).__name__}: {len(unreadable)} of the images to annotate are not "
                f"readable as a picture and are left out, first {unreadable[0]!r}",
                logger="current",
            )
        print_log(f"{type(self).__name__}: report written to {folder}", logger="current")


def make_record(sample: BaseDataElement) -> dict[str, Any]:
    """Keep of one prediction what the report needs, small enough for a whole dataset.

    Raises:
        ValueError: the sample has no predicted or true labels, or no scores.
    """
    for field in ("pred_label", "pred_score", "gt_label"):
        if field not in sample:
            raise ValueError(
                f"LabelSetReportHook needs {field}, but the data sample has only "
                f"[{', '.join(sample.all_keys())}]; use a multi-label head and dataset of one task"
            )
    predicted = as_labels(sample.pred_label)
    sequence = as_labels(sample.sequence) if "sequence" in sample else None
    if sequence is None or "sequence_score" not in sample:
        probabilities = as_scores(sample.pred_score)[predicted]
    else:
        emitted = sequence.tolist()
        first_steps = [emitted.index(label) for label in predicted.tolist()]
        probabilities = as_scores(sample.sequence_score)[first_steps]
    return {
        "predicted": predicted,
        "truth": as_labels(sample.gt_label),
        "sequence": sequence,
        "probabilities": probabilities,
        "num_classes": len(sample.pred_score),
        "img_path": str(sample.get("img_path", "")),
    }


def class_names(classes: Sequence[str] | None, records: list[dict]) -> list[str]:
    """Names from the dataset's metainfo; the indices where it has none."""
    return [str(name) for name in classes or range(records[0]["num_classes"])]
