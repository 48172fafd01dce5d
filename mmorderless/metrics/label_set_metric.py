"""All scores of label sets, rankings and label orders as an mmengine metric."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmpretrain.registry import METRICS
from scipy.sparse import csr_array

from mmorderless.labels.label_lists import sparse_label_matrix
from mmorderless.metrics.per_class import class_records, class_table
from mmorderless.metrics.ranking import keep_top, mean_average_precision, top_scores
from mmorderless.metrics.records import (
    Records,
    as_ragged_labels,
    check_widths,
    join_records,
    round_robin_order,
)
from mmorderless.metrics.set_scores import (
    check_not_empty,
    class_scores,
    confusion_counts,
    exact_match,
    example_scores,
    label_count_errors,
    mean_accuracy,
    overall_scores,
    per_class_f1_mean,
    sequence_scores,
)

# Up to this many classes all scores are kept: 160 MB for the 40,000 images of COCO's val2014.
MAX_EXACT_CLASSES = 1000


@METRICS.register_module()
class LabelSetMetric(BaseMetric):
    """Compare the emitted label sets (`pred_label`) with the true ones (`gt_label`).

    Unlike mmpretrain's `MultiLabelMetric`, which thresholds `pred_score`, this metric reads the
    label set that the model emitted. All results are percentages except the label-count errors
    (labels per image): CP CR CF1, OP OR OF1, per_class_F1_mean (what some papers call C-F1),
    example_accuracy/precision/recall/F1, exact_match, mA, label_count_error and label_count_bias.
    mAP and mAP_all_classes (mmpretrain's convention: a class without a positive counts as 0) need
    `pred_score`; duplicates, rigidness and rigidness_random need `sequence`; they are left out
    without these fields. A mean over nothing (no class with a positive, no image with two labels)
    is NaN.

    Labels not judged: the classes that a sample lists in `gt_ignore` (VOC's difficult objects,
    WIDER Attribute's unspecified attributes) count neither as positives nor as negatives in both
    mAPs and AP, whatever `gt_label` says. All other scores compare two sets and ignore the field:
    there such a class is a negative unless `gt_label` lists it, and emitting it is an error.

    With more than 1,000 classes both mAPs are computed from the `score_topk` highest scores of each
    image, and the log says so: in the ranking of a class, the images without a kept score for it
    tie in last place. This mostly lowers mAP, especially that of rare classes. The top-3 cut
    likewise ranks an emitted label without a kept score last. Everything else is exact, and no
    array has images × classes or classes × classes entries.

    Args:
        num_classes: number of classes C; only needed if the predictions have no `pred_score` and
            the dataset has no class names.
        top3: also report the six C- and O-scores of the emitted labels cut to the three with the
            highest scores, as CP_top3 and so on.
        score_topk: how many scores of an image are kept with more than 1,000 classes; None keeps
            all of them, in 4 · images · classes bytes.
        per_class: also log a table of every class's precision, recall, F1 and AP in percent and
            its support, and keep it in `of_classes`; tools/test.py writes it to `--out`.
        **kwargs: of mmengine's `BaseMetric`.

    Attributes:
        records: predictions and ground truth of the last evaluation, in the order of the dataset;
            None in other processes than the main one, and until an evaluation is complete.
        of_classes: with `per_class`, the `class_records` of the last evaluation; else None.

    Raises:
        ValueError: there is no prediction, a class index is out of range, a score is not finite,
            or more results were processed than the dataset has images.
    """

    default_prefix = "set"

    def __init__(
        self,
        num_classes: int | None = None,
        top3: bool = False,
        score_topk: int | None = 100,
        per_class: bool = False,
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.top3 = top3
        if score_topk is not None and score_topk < 1:
            raise ValueError(f"score_topk must be at least 1, or None for all, got {score_topk}")
        self.score_topk = score_topk
        self.per_class = per_class
        self.records: Records | None = None
        self.of_classes: list[dict[str, Any]] | None = None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store what the scores need of a batch, with one copy to the host per field."""
        self.records = self.of_classes = None
        for sample in data_samples:
            for field in ("pred_label", "gt_label"):
                if field not in sample:
                    raise ValueError(
                        f"{type(self).__name__} needs {field}, but the data sample has only "
                        f"{', '.join(sample)}; use a multi-label head and dataset"
                    )
        if not data_samples:
            return
        sequence = ignored = None
        if all("sequence" in sample for sample in data_samples):
            sequence = as_ragged_labels([sample["sequence"] for sample in data_samples])
        not_judged = [sample.get("gt_ignore") for sample in data_samples]
        if any(labels is not None for labels in not_judged):
            ignored = as_ragged_labels([() if labels is None else labels for labels in not_judged])
        records = Records(
            predicted=as_ragged_labels([sample["pred_label"] for sample in data_samples]),
            truth=as_ragged_labels([sample["gt_label"] for sample in data_samples]),
            scores=self._keep_scores(data_samples),
            sequence=sequence,
            ignored=ignored,
            img_path=np.array([str(sample.get("img_path", "")) for sample in data_samples], object),
        )
        self.results.append(records)

    def _keep_scores(self, data_samples: Sequence[dict]) -> np.ndarray | csr_array | None:
        if not all("pred_score" in sample for sample in data_samples):
            return None
        scores = [torch.as_tensor(sample["pred_score"]) for sample in data_samples]
        check_widths(score.numel() for score in scores)
        stacked = torch.stack(scores).float().cpu().numpy()  # (B, C), from bfloat16 too
        if self.score_topk is None or stacked.shape[1] <= MAX_EXACT_CLASSES:
            return stacked
        return top_scores(stacked, self.score_topk)

    def evaluate(self, size: int) -> dict[str, float]:
        """Check the number of results on all ranks, then gather and score them."""
        numbers = all_gather_object(sum(len(records) for records in self.results))
        world_size, total = len(numbers), sum(numbers)
        check_not_empty(total)
        # To give all ranks equally many images, a sampler repeats fewer than world_size of them;
        # these are dropped below. More results mean that ranks evaluated the same images.
        if total >= size + world_size:
            self.results.clear()
            raise ValueError(
                f"{type(self).__name__} got {total} results from {world_size} process(es) for a "
                f"dataset of {size} images; use mmengine's DefaultSampler(shuffle=False), which "
                "gives each process its own images"
            )
        if total < size:
            print_log(
                f"{type(self).__name__}: only {total} of the dataset's {size} images were "
                "evaluated; the scores are those of these images",
                logger="current",
                level=logging.WARNING,
            )
        # Each rank sends one record, without the images that its sampler repeated.
        rank, _ = round_robin_order(numbers)
        if self.results:
            own = join_records(self.results)
            kept = int((rank[:size] == get_rank()).sum())
            self.results[:] = [own if kept == len(own) else own.take(np.arange(kept))]
        return super().evaluate(size)

    def compute_metrics(self, results: list[Records]) -> dict[str, float]:
        """Score the records of all ranks.

        Returns:
            The scores, with the names and units that the class describes.
        """
        records = join_records(results)
        if get_world_size() > 1:
            # In the order of the dataset, so that errors name its image numbers.
            _, position = round_robin_order([len(part) for part in results])
            records = records.take(position)
        self.records = records
        scores = records.scores
        num_classes = self.count_classes(scores)
        predicted = sparse_label_matrix(records.predicted, num_classes, "prediction")
        truth = sparse_label_matrix(records.truth, num_classes, "ground truth")

        metrics = {
            **class_scores(predicted, truth),
            **overall_scores(predicted, truth),
            "per_class_F1_mean": per_class_f1_mean(predicted, truth),
            **example_scores(predicted, truth),
            "exact_match": exact_match(predicted, truth),
            **label_count_errors(predicted, truth),
        }
        _, num_predicted, num_true = confusion_counts(predicted, truth, axis=0)
        notes = [
            f"{len(records)} images, {num_classes} classes",
            f"{(num_predicted == 0).sum()} classes never predicted (precision 0)",
            f"{(num_true == 0).sum()} classes without a positive (recall 0)",
        ]
        metrics["mA"], left_out = mean_accuracy(predicted, truth)
        notes.append(f"mA leaves out {left_out} classes")
        ignored = None
        if records.ignored is not None:
            ignored = sparse_label_matrix(records.ignored, num_classes, "gt_ignore")
        if scores is not None:
            metrics["mAP"], left_out = mean_average_precision(scores, truth, ignored)
            kept = num_classes - left_out
            metrics["mAP_all_classes"] = metrics["mAP"] * kept / num_classes if kept else 0.0
            notes.append(f"mAP leaves out {left_out} classes")
            if ignored is not None:
                notes[-1] += f" and {ignored.nnz} labels that are not judged"
            if isinstance(scores, csr_array):
                notes.append(f"mAP from the {self.score_topk} highest scores of each image")
        if self.top3:
            if scores is None:
                raise ValueError("top3 needs pred_score in every prediction; set top3=False")
            top = keep_top(predicted, scores, 3)
            top3 = class_scores(top, truth) | overall_scores(top, truth)
            metrics |= {f"{name}_top3": value for name, value in top3.items()}
        if records.sequence is not None:
            metrics |= sequence_scores(records.sequence, num_classes)
            if np.isnan(metrics["rigidness"]):
                notes.append("rigidness is NaN: no image has two labels")
        print_log(f"{type(self).__name__}: {'; '.join(notes)}", logger="current")
        if self.per_class:
            names = (self.dataset_meta or {}).get("classes") or range(num_classes)
            self.of_classes = class_records(names, predicted, truth, scores, ignored)
            table = class_table(self.of_classes)
            print_log(f"{type(self).__name__}, per class:\n{table}", logger="current")
        return metrics

    def count_classes(self, scores: np.ndarray | csr_array | None) -> int:
        """Return C, which `num_classes`, the class names and the scores (N, C) must agree on."""
        numbers = set() if scores is None else {scores.shape[1]}
        if self.num_classes is not None:
            numbers.add(self.num_classes)
        if self.dataset_meta and self.dataset_meta.get("classes"):
            numbers.add(len(self.dataset_meta["classes"]))
        if not numbers:
            raise ValueError(
                f"{type(self).__name__} cannot tell the number of classes: the predictions have no "
                "pred_score and the dataset no classes; give num_classes"
            )
        if len(numbers) > 1:
            raise ValueError(
                f"{type(self).__name__} got different numbers of classes from pred_score, "
                f"num_classes and the dataset's classes: {sorted(numbers)}; make the head's "
                "num_classes that of the dataset"
            )
        return numbers.pop()
