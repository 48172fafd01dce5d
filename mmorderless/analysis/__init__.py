"""Statistics and figures of label sets: arrays in, arrays or figures out."""

from .figures import (
    annotated_image,
    cooccurrence_figure,
    figure_to_rgb,
    label_at_step_figure,
    pair_order_figure,
)
from .image_figures import alignment_figure, attention_figure, ordering_figure
from .statistics import (
    JoinedLabels,
    cooccurrence,
    counts_at_step,
    order_rigidness,
    pair_order_counts,
    pair_rigidness,
    pair_table,
    random_order_rigidness,
    share_at_step,
    sparse_cooccurrence,
    sparse_pair_order_counts,
)

__all__ = [
    "JoinedLabels",
    "alignment_figure",
    "annotated_image",
    "attention_figure",
    "cooccurrence",
    "cooccurrence_figure",
    "counts_at_step",
    "figure_to_rgb",
    "label_at_step_figure",
    "order_rigidness",
    "ordering_figure",
    "pair_order_counts",
    "pair_order_figure",
    "pair_rigidness",
    "pair_table",
    "random_order_rigidness",
    "share_at_step",
    "sparse_cooccurrence",
    "sparse_pair_order_counts",
]
