"""Draw the figures of a comparison's results."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from mmorderless.comparison.report.results import Predictions, Result, ragged_of, value_at
from mmorderless.figures.fonts import drawable_names
from mmorderless.figures.label_sets import label_at_step_figure
from mmorderless.figures.method_curves import (
    OperatingCurve,
    loss_curves_figure,
    operating_curve_figure,
)
from mmorderless.figures.methods import (
    MIN_IMAGES,
    cooccurrence_difference_figure,
    label_count_figure,
)
from mmorderless.figures.style import MAX_NAMED_CLASSES, title_of
from mmorderless.labels.label_lists import sparse_label_matrix
from mmorderless.metrics.order_statistics import cooccurrence, counts_at_step


def all_figures(
    results: Mapping[str, Sequence[Result]],
    predictions: Mapping[str, Predictions],
    groups: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Figure]:
    """Draw all figures for which there is data.

    Args:
        results: by method, the content of `result.json` of each seed.
        predictions: by method, the arrays of `predictions.npz` of its first seed.
        groups: class indices by group name, such as COCO's supercategories.

    Returns:
        Figures by name: `loss_curves` of the sequence models and `loss_curves_independent` of the
        others, `label_count`, `operating_curve`, `cooccurrence_difference`,
        `cooccurrence_difference_GROUP` for each group of two or more classes, and
        `label_at_step_METHOD`.
    """
    figures: dict[str, Figure] = {}
    for name, sequence in (("loss_curves", True), ("loss_curves_independent", False)):
        curves = {
            method: [seed.get("loss_curve") or [] for seed in seeds]
            for method, seeds in results.items()
            if any(bool(seed.get("sequence")) is sequence for seed in seeds)
        }
        curves = {method: seeds for method, seeds in curves.items() if any(map(len, seeds))}
        if curves:
            positive = all(loss > 0 for seeds in curves.values() for s in seeds for _, loss in s)
            figures[name] = loss_curves_figure(curves, log_scale=positive)

    counts = {
        method: arrays["predicted_length"].astype(np.int64) - arrays["truth_length"]
        for method, arrays in predictions.items()
    }
    if counts:
        figures["label_count"] = label_count_figure(counts)

    operating = {name: read_operating_curve(seeds[0]) for name, seeds in results.items() if seeds}
    drawn = {method: curve for method, curve in operating.items() if curve is not None}
    if drawn:
        figures["operating_curve"] = operating_curve_figure(drawn)
        figures["operating_curve"].suptitle("held-out images, first seed", fontsize=10)

    figures.update(_cooccurrence_figures(predictions, groups))
    for method, arrays in predictions.items():
        if "sequence" in arrays and arrays["sequence"].size:
            figure = _label_at_step(method, arrays)
            if figure is not None:
                figures[f"label_at_step_{method}"] = figure
    return figures


def _label_at_step(method: str, arrays: Predictions) -> Figure | None:
    """Draw the labels at each step that enough images have; None if no step has."""
    classes = [str(name) for name in arrays["classes"]]
    counts = counts_at_step(ragged_of(arrays, "sequence"), len(classes))
    shown = int((counts.sum(axis=1) >= MIN_IMAGES).sum())  # their number decreases with the step
    if not shown:
        return None
    figure = label_at_step_figure(counts[:shown], classes)
    figure.axes[0].set_title(f"{title_of(method)}: labels at each step")
    if shown < len(counts):
        figure.axes[1].set_xlabel(
            f"decoding step\n(from step {shown + 1} on fewer than {MIN_IMAGES} images: left out)"
        )
    return figure


def read_operating_curve(result: Result) -> OperatingCurve | None:
    """Return the operating curve of a run on the held-out images; None without one."""
    points = sorted(result.get("operating_curve") or [], key=lambda point: float(point["value"]))
    default = value_at(result, ("operating_default",))
    if not points:
        return None
    values, recall, precision = (
        np.array([point[key] for point in points]) for key in ("value", "CR", "CP")
    )
    tuned = value_at(result, ("tuned", "CF1", "value"))
    return OperatingCurve(values, recall, precision, default, tuned)


def _cooccurrence_figures(
    predictions: Mapping[str, Predictions], groups: Mapping[str, Sequence[int]] | None
) -> dict[str, Figure]:
    """Draw the co-occurrence differences of all methods, for all classes and for each group.

    Without groups, classes are in order of frequency, and only the most frequent ones are drawn.
    """
    if not predictions:
        return {}
    first = next(iter(predictions.values()))
    classes = drawable_names([str(name) for name in first["classes"]])

    def sets(arrays: Predictions, name: str) -> Any:
        return sparse_label_matrix(ragged_of(arrays, name), len(classes), name)

    true_sets = sets(first, "truth")
    by_frequency = np.argsort(-true_sets.sum(axis=0), kind="stable")
    if groups:
        kept = np.arange(len(classes))
    else:
        kept = by_frequency[:MAX_NAMED_CLASSES]
    true_counts = cooccurrence(true_sets[:, kept]).toarray()
    differences = {
        method: cooccurrence(sets(arrays, "predicted")[:, kept]).toarray() - true_counts
        for method, arrays in predictions.items()
    }
    names = [classes[c] for c in kept]
    figures = {
        "cooccurrence_difference": cooccurrence_difference_figure(differences, names, groups)
    }
    for group, members in (groups or {}).items():
        if len(members) < 2:
            continue
        figures[f"cooccurrence_difference_{group}"] = cooccurrence_difference_figure(
            differences, names, {group: members}
        )
    return figures
