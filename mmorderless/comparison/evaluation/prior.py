"""What the labels alone say: the label prior, and how many test sets occur in training.

The label prior ignores the image: every image gets the same scores, the frequency of each class in
the training images, and the same label set, the classes whose frequency is at least a threshold. A
method that sees the image should be better.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from mmorderless.comparison.evaluation.evaluate import evaluate_thresholds
from mmorderless.comparison.evaluation.operating_parameter import DEFAULT_THRESHOLD
from mmorderless.comparison.evaluation.predictions import apply_threshold
from mmorderless.labels.fixed_orders import count_labels
from mmorderless.labels.label_lists import Labels, RaggedLabels, ragged_labels, share_of_known
from mmorderless.metrics.records import Records


def label_sets(dataset: Any, field: str = "gt_label") -> list[Labels]:
    """Return the labels of each image of a dataset, or its labels in another field, if any."""
    return [dataset.get_data_info(i).get(field, ()) for i in range(len(dataset))]


def constant_scores(truth: Sequence[Labels], scores: np.ndarray) -> Records:
    """Return predictions with the same scores, shape (C,), for each image."""
    repeated = np.broadcast_to(scores, (len(truth), len(scores)))
    empty = RaggedLabels(np.zeros(0, np.int64), np.zeros(len(truth), np.int64))
    return Records(empty, ragged_labels(truth), repeated, sequence=None, ignored=None)


def evaluate_prior(cfg: Config) -> dict[str, Any]:
    """Evaluate the label prior of a config's training set.

    Returns:
        `operating_parameter`, `default`, `operating_curve` and `tuned`, as in result.json;
        `known_sets`, the share of test images that have the label set of a training image, in
        percent.
    """
    datasets = [
        DATASETS.build(cfg[f"{split}_dataloader"].dataset) for split in ("train", "val", "test")
    ]
    num_classes = len(datasets[-1].metainfo["classes"])
    train, held_out, test = map(label_sets, datasets)
    scores = (count_labels(train, num_classes) / len(train)).astype(np.float32)
    on_held_out, on_test = (constant_scores(sets, scores) for sets in (held_out, test))
    on_test = replace(on_test, ignored=ragged_labels(label_sets(datasets[-1], "gt_ignore")))
    default = apply_threshold(on_test, DEFAULT_THRESHOLD)
    result = evaluate_thresholds(on_held_out, default, num_classes, DEFAULT_THRESHOLD)
    return {**result, "known_sets": share_of_known(test, train)}
