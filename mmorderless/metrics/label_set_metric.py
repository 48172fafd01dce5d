"""The scores of `set_scores` as an mmengine metric."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, get_world_size
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmpretrain.registry import METRICS

from . import set_scores


@METRICS.register_module()
class LabelSetMetric(BaseMetric):
    """Compare the emitted label sets (`pred_label`) with the true ones (`gt_label`).

    Unlike mmpretrain's `MultiLabelMetric`, which thresholds `pred_score`, this reads the set that
    the model decided on. All results are percentages except the label-count errors (labels per
    image): CP CR CF1, OP OR OF1, example_accuracy/precision/recall/F1, exact_match, mA,
    label_count_error and label_count_bias. mAP and mAP_all_classes (mmpretrain's convention: a
    class without a positive counts as 0) need `pred_score`; duplicates, rigidness and
    rigidness_random need `sequence`: without these fields they are left out. Classes that a sample
    lists in `gt_ignore` (WIDER Attribute's unspecified ones) are left out of both mAPs for this
    sample. A mean over nothing (no class with a positive, no image with two labels) is NaN.

    Args:
        num_classes: number of classes C. Only needed where the predictions have no `pred_score`
            and the dataset no class names.
        top3: also report the six C- and O-scores of the emitted labels cut to the three of
            highest score, as CP_top3 and so on.
        collect_device: where the results of the ranks are gathered, `cpu` or `gpu`.
        prefix: prefix of the result names.
        collect_dir: folder shared by the ranks, for gathering on `cpu`.

    Raises:
        ValueError: there is no prediction, a class index is out of range, or more results than
            the dataset has images were processed.
    """

    default_prefix = "set"

    def __init__(
        self,
        num_classes: int | None = None,
        top3: bool = False,
        collect_device: str = "cpu",
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.num_classes = num_classes
        self.top3 = top3

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Store one small record per image, so that gathering can drop padded images."""
        for sample in data_samples:
            for field in ("pred_label", "gt_label"):
                if field not in sample:
                    raise ValueError(
                        f"{type(self).__name__} needs {field}, but the data sample has only "
                        f"{', '.join(sample)}; use a multi-label head and dataset"
                    )
            self.results.append(
                {
                    "predicted": as_labels(sample["pred_label"]),
                    "truth": as_labels(sample["gt_label"]),
                    "score": as_scores(sample["pred_score"]) if "pred_score" in sample else None,
                    "sequence": as_labels(sample["sequence"]) if "sequence" in sample else None,
                    "ignored": as_labels(sample["gt_ignore"]) if "gt_ignore" in sample else None,
                }
            )

    def evaluate(self, size: int) -> dict[str, float]:
        """Check the number of results on all ranks, then gather and score them.

        Args:
            size: number of images of the dataset.
        """
        world_size = get_world_size()
        total = sum(all_gather_object(len(self.results)))
        set_scores.check_number(total)
        # A sampler that rounds up repeats fewer than world_size images; collect_results cuts them
        # off. More repeats mean that the ranks saw the same images, and the cut hits wrong ones.
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
                "evaluated; the scores are those of this part",
                logger="current",
                level=logging.WARNING,
            )
        return super().evaluate(size)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Score the gathered records; see the class for the names and units."""
        set_scores.check_number(len(results))
        scores, sequences = (
            None if any(r[key] is None for r in results) else [r[key] for r in results]
            for key in ("score", "sequence")
        )
        num_classes = self._count_classes(scores)
        predicted = set_scores.label_matrix(
            [r["predicted"] for r in results], num_classes, "prediction"
        )
        truth = set_scores.label_matrix([r["truth"] for r in results], num_classes, "ground truth")

        metrics = {
            **set_scores.class_scores(predicted, truth),
            **set_scores.overall_scores(predicted, truth),
            **set_scores.example_scores(predicted, truth),
            "exact_match": set_scores.exact_match(predicted, truth),
            **set_scores.label_count_errors(predicted, truth),
        }
        counts = set_scores.class_counts(predicted, truth)
        notes = [
            f"{len(results)} images, {num_classes} classes",
            f"{counts['never_predicted']} classes never predicted (precision 0)",
            f"{counts['without_positive']} classes without a positive (recall 0)",
        ]
        metrics["mA"], left_out = set_scores.mean_accuracy(predicted, truth)
        notes.append(f"mA leaves out {left_out} classes")
        if scores is not None:
            score_matrix = np.stack(scores)
            ignored = self._ignored(results, num_classes)
            metrics["mAP"], left_out = set_scores.mean_average_precision(
                score_matrix, truth, ignored
            )
            kept = num_classes - left_out
            metrics["mAP_all_classes"] = metrics["mAP"] * kept / num_classes if kept else 0.0
            notes.append(f"mAP leaves out {left_out} classes")
            if ignored is not None:
                notes[-1] += f" and {int(ignored.sum())} unspecified labels"
        if self.top3:
            if scores is None:
                raise ValueError("top3 needs pred_score in every prediction; set top3=False")
            cut = set_scores.keep_top(predicted, score_matrix, 3)
            top3 = set_scores.class_scores(cut, truth) | set_scores.overall_scores(cut, truth)
            metrics |= {f"{name}_top3": value for name, value in top3.items()}
        if sequences is not None:
            metrics |= set_scores.sequence_scores(sequences, num_classes)
            if np.isnan(metrics["rigidness"]):
                notes.append("rigidness is not a number: no image has two labels")
        print_log(f"{type(self).__name__}: {'; '.join(notes)}", logger="current")
        return metrics

    def _ignored(self, results: list[dict], num_classes: int) -> np.ndarray | None:
        """Classes that mAP leaves out, boolean, shape (N, C); None where no sample names any."""
        if all(r["ignored"] is None for r in results):
            return None
        lists = [() if r["ignored"] is None else r["ignored"] for r in results]
        return set_scores.label_matrix(lists, num_classes, "gt_ignore")

    def _count_classes(self, scores: list[np.ndarray] | None) -> int:
        lengths = {len(score) for score in scores or ()}
        if self.num_classes is not None:
            lengths.add(self.num_classes)
        if self.dataset_meta and self.dataset_meta.get("classes"):
            lengths.add(len(self.dataset_meta["classes"]))
        if not lengths:
            raise ValueError(
                f"{type(self).__name__} cannot tell the number of classes: the predictions have no "
                "pred_score and the dataset no classes; give num_classes"
            )
        if len(lengths) > 1:
            raise ValueError(
                f"{type(self).__name__} got different numbers of classes from pred_score, "
                f"num_classes and the dataset's classes: {sorted(lengths)}; make the head's "
                "num_classes that of the dataset"
            )
        return lengths.pop()


def as_labels(labels: Any) -> np.ndarray:
    """Class indices of one image as int64, shape (n,), from a tensor, an array or a list."""
    return torch.as_tensor(labels).cpu().numpy().astype(np.int64).reshape(-1)


def as_scores(scores: Any) -> np.ndarray:
    """Scores of one image as float32, shape (C,), from a tensor (bfloat16 too) or an array."""
    return torch.as_tensor(scores).float().cpu().numpy()
