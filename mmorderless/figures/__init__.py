"""Figures: arrays in, matplotlib Figure out."""

from mmorderless.figures.label_sets import (
    annotated_image,
    cooccurrence_figure,
    label_at_step_figure,
    pair_order_figure,
)
from mmorderless.figures.single_image import alignment_figure, attention_figure, ordering_figure
from mmorderless.figures.style import figure_to_rgb

__all__ = [
    "alignment_figure",
    "annotated_image",
    "attention_figure",
    "cooccurrence_figure",
    "figure_to_rgb",
    "label_at_step_figure",
    "ordering_figure",
    "pair_order_figure",
]
