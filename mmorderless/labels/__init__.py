"""Label sets: tokens, lists and matrices, checks, fixed orders. NumPy and torch only."""

from mmorderless.labels.fixed_orders import FIXED_ORDERS, class_ranks, count_labels
from mmorderless.labels.label_lists import (
    JoinedLabels,
    flatten_labels,
    join_labels,
    label_matrix,
    sparse_label_matrix,
)
from mmorderless.labels.vocabulary import IGNORE, Vocabulary

__all__ = [
    "FIXED_ORDERS",
    "IGNORE",
    "JoinedLabels",
    "Vocabulary",
    "class_ranks",
    "count_labels",
    "flatten_labels",
    "join_labels",
    "label_matrix",
    "sparse_label_matrix",
]
