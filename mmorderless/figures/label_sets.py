"""Figures of label sets: their labels, co-occurrence and order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.colors import CenteredNorm, LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmorderless.figures.style import (
    HIT,
    MISSED,
    NEUTRAL,
    WRONG,
    as_rgb,
    color_map,
    name_classes,
    new_figure,
    panel_side,
    shorten,
)
from mmorderless.metrics.order_statistics import (
    order_rigidness,
    random_order_rigidness,
    share_at_step,
)


def annotated_image(
    image: np.ndarray,
    names: Sequence[str],
    probabilities: Sequence[float],
    true_names: Sequence[str] | None = None,
    num_given: int = 0,
    excluded_names: Sequence[str] = (),
) -> Figure:
    """Draw an image next to the list of its predicted labels.

    Each label has a line with a bar for its probability, in the order given (the order of
    emission). If the truth is known, lines are marked as right or wrong, and missed labels follow.
    Given labels have no bar, and excluded ones are listed at the end.

    Args:
        image: uint8 RGB, shape (H, W, 3); small images are enlarged.
        names: names of the predicted labels in order of emission.
        probabilities: probability of each predicted label, between 0 and 1.
        true_names: names of the true labels.
        num_given: how many of the first labels were given, not predicted.
        excluded_names: names of the labels that were excluded.

    Raises:
        ValueError: the image is not uint8 RGB, or the numbers of names and probabilities differ.
    """
    image = as_rgb(image)
    if len(names) != len(probabilities):
        raise ValueError(
            f"got {len(names)} names but {len(probabilities)} probabilities; give one per name"
        )
    truth = set(true_names or ())
    lists = []  # below the predicted labels: title and names
    if true_names is not None:
        missed = [name for name in true_names if name not in set(names)]
        lists.append(("missed labels" if missed else "no label missed", missed))
    if excluded_names:
        lists.append(("excluded labels", list(excluded_names)))

    # All sizes in inches.
    margin, panel, line = 0.15, 4.2, 0.3
    scale = 4.0 / max(image.shape[:2])
    picture_height, picture_width = (max(scale * side, 0.8) for side in image.shape[:2])
    num_lines = 1 + max(len(names), 1) + sum(1 + max(len(listed), 1) for _, listed in lists)
    width = picture_width + panel + 3 * margin
    height = max(picture_height, num_lines * line) + 2 * margin
    figure = Figure(figsize=(width, height), dpi=100, facecolor="white")

    axes = figure.add_axes(
        (
            margin / width,
            1 - (margin + picture_height) / height,
            picture_width / width,
            picture_height / height,
        )
    )
    axes.imshow(image)
    axes.set_axis_off()

    # One unit of y is a line; x is in inches.
    panel_height = height - 2 * margin
    axes = figure.add_axes(
        (
            (picture_width + 2 * margin) / width,
            margin / height,
            panel / width,
            panel_height / height,
        )
    )
    axes.set_axis_off()
    axes.set_xlim(0, panel)
    axes.set_ylim(panel_height / line, 0)

    def write(x: float, row: int, text: str, **style: Any) -> None:
        axes.text(x, row + 0.5, text, va="center", fontsize=11, parse_math=False, **style)

    write(0, 0, "predicted labels" if names else "no label predicted", weight="bold")
    for i, (name, probability) in enumerate(zip(names, probabilities, strict=True)):
        mark, color = "", NEUTRAL
        if true_names is not None:
            mark, color = ("✓", HIT) if name in truth else ("✗", WRONG)
        row = i + 1
        write(0.25, row, f"{i + 1}", color=MISSED, ha="right")
        write(0.35, row, mark, color=color, weight="bold")
        write(0.6, row, shorten(name), color=color)
        if i < num_given:
            write(panel, row, "given", color=MISSED, ha="right")
            continue
        axes.add_patch(Rectangle((2.75, row + 0.25), 0.9, 0.5, facecolor="#EEEEEE"))
        axes.add_patch(Rectangle((2.75, row + 0.25), 0.9 * probability, 0.5, facecolor=color))
        write(panel, row, f"{probability:.2f}", ha="right")
    row = 1 + max(len(names), 1)
    for title, listed in lists:
        write(0, row, title, weight="bold")
        for i, name in enumerate(listed):
            write(0.35, row + 1 + i, "–", color=MISSED, weight="bold")
            write(0.6, row + 1 + i, shorten(name), color=MISSED)
        row += 1 + max(len(listed), 1)
    return figure


def cooccurrence_figure(predicted: np.ndarray, truth: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw the co-occurrence of the predicted labels, of the true labels, and their difference.

    Args:
        predicted: image counts from `order_statistics.cooccurrence`, shape (C, C).
        truth: image counts of the true labels, shape (C, C).
        classes: class names, C strings.
    """
    side = panel_side(len(classes))
    figure = new_figure(3 * side + 2, side + 0.6)
    panels = figure.subplots(1, 3)
    counts = LogNorm(1, max(2, predicted.max(initial=0), truth.max(initial=0)))
    for axes, matrix, title in zip(panels, (predicted, truth), ("prediction", "ground truth")):
        # Zero has no logarithm: such pairs are gray.
        image = axes.imshow(np.ma.masked_equal(matrix, 0), norm=counts, cmap=color_map("viridis"))
        axes.set_title(title)
    figure.colorbar(image, ax=panels[1], shrink=0.8, label="images with both labels (log scale)")

    difference = predicted - truth
    # Colors saturate at the 98th percentile; otherwise a ubiquitous class would hide the others.
    largest = max(1.0, float(np.percentile(np.abs(difference), 98))) if difference.size else 1.0
    image = panels[2].imshow(difference, norm=CenteredNorm(0, largest), cmap="RdBu_r")
    panels[2].set_title("prediction − ground truth")
    figure.colorbar(
        image, ax=panels[2], shrink=0.8, extend="both", label="difference (images with both labels)"
    )
    for axes in panels:
        name_classes(axes.xaxis, classes)
        axes.set_yticks([])
    name_classes(panels[0].yaxis, classes)
    return figure


def label_at_step_figure(counts: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw which labels are emitted at each step, and for how many images.

    Args:
        counts: image counts from `order_statistics.counts_at_step`, shape (T, C).
        classes: class names, C strings.
    """
    num_steps = max(len(counts), 1)
    side = panel_side(len(classes))
    figure = new_figure(4 + 0.3 * num_steps, side + 2)
    bars, axes = figure.subplots(2, 1, sharex=True, height_ratios=(1.2, side))
    bars.bar(range(1, len(counts) + 1), counts.sum(axis=1), color=NEUTRAL)
    bars.set_ylabel("images")
    bars.set_title("labels at each step")
    image = axes.imshow(
        np.ma.masked_equal(share_at_step(counts).T, 0),
        extent=(0.5, num_steps + 0.5, len(classes) - 0.5, -0.5),
        norm=PowerNorm(0.5, 0, 100),
        cmap=color_map("viridis"),
        aspect="auto",
    )
    axes.set_xlabel("decoding step")
    axes.set_xticks(range(1, num_steps + 1, 1 + num_steps // 20))
    name_classes(axes.yaxis, classes)
    figure.colorbar(image, ax=axes, label="share of the step's labels (%, square-root scale)")
    return figure


def pair_order_figure(before: np.ndarray, classes: Sequence[str]) -> Figure:
    """Draw how often each label is emitted before each other label.

    Classes are sorted by how often they come first, so that a fixed order appears as a triangle.

    Args:
        before: image counts from `order_statistics.pair_order_counts`, shape (C, C).
        classes: class names, C strings.
    """
    together = before + before.T
    # Classes that are never emitted together with another one come last.
    earliness = before.sum(axis=1) / np.maximum(together.sum(axis=1), 1)
    earliness[together.sum(axis=1) == 0] = -1
    order = np.argsort(-earliness, kind="stable")
    share = np.full(before.shape, np.nan)
    np.divide(100 * before, together, out=share, where=together > 0)

    side = panel_side(len(classes))
    figure = new_figure(side + 1.6, side + 0.8)
    axes = figure.subplots()
    image = axes.imshow(
        share[np.ix_(order, order)], norm=CenteredNorm(50, 50), cmap=color_map("PuOr")
    )
    figure.colorbar(
        image, ax=axes, shrink=0.8, label="row label before column label (% of images with both)"
    )
    for axis in (axes.xaxis, axes.yaxis):
        name_classes(axis, [classes[i] for i in order], indices=order)
    axes.set_title(
        f"order of pairs: rigidness {order_rigidness(before):.1f} %,\n"
        f"expected at random {random_order_rigidness(before):.1f} %"
        if together.any()
        else "order of pairs: no image has two labels"
    )
    return figure
