"""The label prior: the scores of a prediction that ignores the image.

Every image gets the same scores, the frequency of each class in the training images, and the same
label set, the classes whose frequency is at least a threshold. It is a lower bound for any method.
"""

from typing import Any

import numpy as np
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from mmorderless.comparison.evaluation.evaluate import evaluate_thresholds
from mmorderless.comparison.evaluation.operating_parameter import DEFAULT_THRESHOLD
from mmorderless.comparison.evaluation.predictions import apply_threshold
from mmorderless.labels.fixed_orders import count_labels
from mmorderless.labels.label_lists import RaggedLabels, ragged_labels
from mmorderless.metrics.records import Records


def label_sets(dataset: Any) -> RaggedLabels:
    """Return the labels of each image of a dataset."""
    return ragged_labels([list(dataset.get_data_info(i)["gt_label"]) for i in range(len(dataset))])


def constant_scores(truth: RaggedLabels, scores: np.ndarray) -> Records:
    """Return predictions with the same scores, shape (C,), for each image."""
    repeated = np.broadcast_to(scores, (len(truth), len(scores)))
    empty = RaggedLabels(np.zeros(0, np.int64), np.zeros(len(truth), np.int64))
    return Records(empty, truth, repeated, sequence=None, ignored=None)


def evaluate_prior(cfg: Config) -> dict[str, Any]:
    """Evaluate the label prior of a config's training set.

    Returns:
        `operating_parameter`, `default`, `operating_curve` and `tuned`, as in result.json.

    Raises:
        FileNotFoundError: a dataset's files are missing.
    """
    train, held_out, test = (
        DATASETS.build(cfg[f"{split}_dataloader"].dataset) for split in ("train", "val", "test")
    )
    num_classes = len(test.metainfo["classes"])
    truth = label_sets(train)
    counts = count_labels(truth, num_classes)
    scores = (counts / len(truth)).astype(np.float32)
    on_held_out, on_test = (
        constant_scores(label_sets(dataset), scores) for dataset in (held_out, test)
    )
    default = apply_threshold(on_test, DEFAULT_THRESHOLD)
    return evaluate_thresholds(on_held_out, default, num_classes, DEFAULT_THRESHOLD)
