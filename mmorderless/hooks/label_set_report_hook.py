"""Files and figures about the predicted label sets, after each validation or test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.figure import Figure
from mmengine.dist import collect_results, is_main_process
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import IterBasedTrainLoop, Runner
from mmengine.runner.base_loop import BaseLoop
from mmengine.structures import BaseDataElement
from mmpretrain.registry import HOOKS
from torch.utils.data import Dataset

from ..analysis import figures, statistics
from ..metrics.label_set_metric import as_labels, as_scores
from ..metrics.set_scores import sparse_label_matrix

# More classes have no (C, C) arrays and figures: their cells would be smaller than a pixel.
MAX_DENSE_CLASSES = 1000


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
        folder.mkdir(parents=True, exist_ok=True)

        def save(path: Path, figure: Figure) -> None:
            path.parent.mkdir(exist_ok=True)
            rgb = figures.figure_to_rgb(figure)
            cv2.imwrite(str(path), rgb[..., ::-1])
            runner.visualizer.add_image(f"{split}_{path.stem}", rgb, step)

        classes = class_names(getattr(dataset, "metainfo", {}).get("classes"), records)
        write_cooccurrence(records, classes, folder, save)
        if all(record["sequence"] is not None for record in records):
            write_order(records, classes, folder, save)
        unreadable = write_images(records, classes, self.num_images, folder / "images", save)
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


def write_cooccurrence(records: list[dict], classes: list[str], folder: Path, save: Any) -> None:
    """Write `cooccurrence.npz` and its figure; of many classes only a list of pairs."""
    predicted, truth = (
        statistics.sparse_cooccurrence(
            sparse_label_matrix([record[key] for record in records], len(classes), key)
        )
        for key in ("predicted", "truth")
    )
    pairs = {}
    if len(classes) > MAX_DENSE_CLASSES:
        pairs["pairs"], counts = statistics.pair_table(predicted, truth)
        predicted, truth = counts.T
    else:
        predicted, truth = predicted.toarray(), truth.toarray()
        figure = figures.cooccurrence_figure(predicted, truth, classes)
        save(folder / "cooccurrence.png", figure)
    np.savez_compressed(
        folder / "cooccurrence.npz",
        predicted=predicted,
        truth=truth,
        difference=predicted - truth,
        classes=np.array(classes),
        **pairs,
    )


def write_order(records: list[dict], classes: list[str], folder: Path, save: Any) -> None:
    """Write `order.npz` and its two figures; of many classes a list of pairs and one figure."""
    sequences = statistics.join_labels([record["sequence"] for record in records])
    counts = statistics.counts_at_step(sequences, len(classes))
    before = statistics.sparse_pair_order_counts(sequences, len(classes))
    pairs = {}
    if len(classes) > MAX_DENSE_CLASSES:
        pairs["pairs"], before = statistics.pair_table(before, before.T)
        rigidness = 100 * before.max(axis=1) / before.sum(axis=1)
    else:
        before = before.toarray()
        rigidness = statistics.pair_rigidness(before)
        save(folder / "pair_order.png", figures.pair_order_figure(before, classes))
    save(folder / "label_at_step.png", figures.label_at_step_figure(counts, classes))
    np.savez_compressed(
        folder / "order.npz",
        count_at_step=counts,
        share_at_step=statistics.share_at_step(counts),
        before=before,
        rigidness=rigidness,
        classes=np.array(classes),
        **pairs,
    )


def write_images(
    records: list[dict], classes: list[str], num_images: int, folder: Path, save: Any
) -> list[str]:
    """Write annotated pictures, evenly spaced over the dataset; return the unreadable paths."""
    number = min(num_images, len(records))
    unreadable = []
    for index in np.linspace(0, len(records) - 1, number).round().astype(int):
        record = records[index]
        path = record["img_path"]
        # OpenCV prints a warning of its own for a missing file.
        bgr = cv2.imread(path) if Path(path).is_file() else None
        if bgr is None:
            unreadable.append(path)
            continue
        figure = figures.annotated_image(
            bgr[..., ::-1],
            [classes[label] for label in record["predicted"]],
            record["probabilities"],
            [classes[label] for label in record["truth"]],
        )
        save(folder / f"image_{index:06d}.png", figure)
    return unreadable
