"""Label sets: tokens, lists and matrices, checks, fixed orders. NumPy, SciPy and torch only."""

from mmorderless.labels.checks import CheckedLabels, check_fits, check_labels
from mmorderless.labels.fixed_orders import FIXED_ORDERS, class_ranks, count_labels
from mmorderless.labels.label_lists import (
    RaggedLabels,
    flatten_labels,
    label_matrix,
    ragged_labels,
    sparse_label_matrix,
)
from mmorderless.labels.vocabulary import IGNORE, Vocabulary

__all__ = [
    "FIXED_ORDERS",
    "IGNORE",
    "CheckedLabels",
    "RaggedLabels",
    "Vocabulary",
    "check_fits",
    "check_labels",
    "class_ranks",
    "count_labels",
    "flatten_labels",
    "label_matrix",
    "ragged_labels",
    "sparse_label_matrix",
]
