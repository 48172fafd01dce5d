"""Figures that compare methods: co-occurrence and number of labels.

Letters: C classes, N images.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from mmorderless.figures.fonts import drawable_names
from mmorderless.figures.style import lowest_panels, new_figure, shorten, title_of

# Steps with fewer images are not drawn, because their shares are noise.
MIN_IMAGES = 10
# With more classes no counts are written into the cells.
MAX_NUMBERED_CLASSES = 8


def cooccurrence_difference_figure(
    differences: Mapping[str, np.ndarray],
    classes: Sequence[str],
    groups: Mapping[str, Sequence[int]] | None = None,
) -> Figure:
    """Draw predicted minus true co-occurrence of each method on one scale (paper, Figure 6).

    Red: two labels are predicted together too often; blue: too rarely.

    Args:
        differences: by method, image counts of predicted minus true pairs, shape (C, C).
        classes: class names, C strings.
        groups: class indices by group name. Only these classes are shown, group by group, with a
            frame around the pairs of each group; None shows all classes in the order given.
    """
    shown = [c for members in groups.values() for c in members] if groups else range(len(classes))
    indices = np.array(list(shown), dtype=np.int64)
    panels = {name: np.asarray(d)[np.ix_(indices, indices)] for name, d in differences.items()}
    columns = min(len(panels), 4) or 1
    rows = -(-len(panels) // columns) or 1
    few = len(indices) <= 30
    side = float(np.clip(0.16 * len(indices) + 0.6, 2.2, 3.2))
    figure = new_figure(columns * side + 2.6, rows * (side + 0.45) + (1.3 if few else 0.5))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    counts = np.abs(np.concatenate([panel.ravel() for panel in panels.values()] or [np.zeros(1)]))
    # Colors saturate at the 99th percentile; otherwise a ubiquitous class would hide the others.
    largest = max(1.0, float(np.percentile(counts, 99))) if counts.size else 1.0
    image = None
    for axes, (method, panel) in zip(grid.flat, panels.items()):
        image = axes.imshow(panel, norm=CenteredNorm(0, largest), cmap="RdBu_r")
        pairs = panel[np.triu_indices(len(indices), 1)]
        mean = f"mean |Δ| {np.abs(pairs).mean():.1f}" if pairs.size else "no pair"
        axes.set_title(f"{title_of(method)}\n{mean}", fontsize=10, parse_math=False)
        axes.tick_params(length=0)
        if len(indices) <= MAX_NUMBERED_CLASSES:
            for a, b in np.argwhere(~np.eye(len(indices), dtype=bool)):
                dark = abs(panel[a, b]) > 0.6 * largest
                style = dict(ha="center", va="center", fontsize=7)
                number = f"{panel[a, b]:+d}".replace("-", "−") if panel[a, b] else "0"
                axes.text(b, a, number, color="white" if dark else "#222222", **style)
        start = 0
        for members in (groups or {}).values():
            frame = Rectangle((start - 0.5, start - 0.5), len(members), len(members))
            frame.set(fill=False, edgecolor="black", linewidth=0.8)
            axes.add_patch(frame)
            start += len(members)
    ticks: np.ndarray
    if few:
        ticks, names = np.arange(len(indices)), [shorten(classes[i]) for i in indices]
    elif groups:
        sizes = np.array([len(members) for members in groups.values()])
        ticks, names = (
            np.cumsum(sizes) - sizes / 2 - 0.5,
            [shorten(n) for n in drawable_names(list(groups))],
        )
    else:
        ticks, names = np.empty(0), []
    for axes in lowest_panels(grid, len(panels)):
        axes.set_xticks(ticks, names, rotation=90, fontsize=8, parse_math=False)
    for axes in grid[:, 0]:
        axes.set_yticks(ticks, names, fontsize=8, parse_math=False)
    if not few and not groups:
        figure.supxlabel(f"{len(indices)} classes, the most frequent first", fontsize=10)
    if image is not None:
        figure.colorbar(
            image,
            ax=grid,
            shrink=min(0.8, 1.2 / rows),
            extend="both",
            label="images with both labels,\npredicted − true",
        )
    return figure


def label_count_figure(differences: Mapping[str, np.ndarray], most: int = 4) -> Figure:
    """Draw the distribution of each method's error of the number of labels.

    Args:
        differences: by method, predicted minus true number of labels, ints, shape (N,).
        most: larger differences are counted in the outermost columns.
    """
    methods = list(differences)
    values = np.arange(-most, most + 1)
    share = np.zeros((len(methods), len(values)))
    for i, difference in enumerate(differences.values()):
        counts = np.bincount(np.clip(difference, -most, most) + most, minlength=len(values))
        share[i] = 100 * counts / max(len(difference), 1)
    figure = new_figure(9.0, 0.32 * len(methods) + 1.5)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, aspect="auto")
    for i, j in np.ndindex(*share.shape):
        dark = share[i, j] > 0.6 * share.max()
        text = f"{share[i, j]:.0f}" if share[i, j] >= 0.5 else "·"
        axes.text(j, i, text, ha="center", va="center", color="white" if dark else "#222222")
    names = [f"{value:+d}".replace("-", "−") if value else "0" for value in values]
    names[0], names[-1] = f"≤ {names[0]}", f"≥ {names[-1]}"
    axes.set_xticks(range(len(values)), names)
    axes.set_yticks(range(len(methods)), [title_of(m) for m in methods], parse_math=False)
    axes.set_xlabel("predicted − true number of labels")
    axes.tick_params(length=0)
    # On the right: mean (bias) and mean absolute difference.
    right = axes.secondary_yaxis("right")
    means = [(float(np.mean(d)), float(np.abs(d).mean())) for d in differences.values()]
    texts = [f"{bias:+.2f}   {error:.2f}".replace("-", "−") for bias, error in means]
    right.set_yticks(range(len(methods)), texts)
    right.tick_params(length=0)
    right.set_ylabel("mean, mean |difference|")
    axes.set_title("error of the number of labels: share of images (%)")
    return figure
