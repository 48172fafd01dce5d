"""Figures of a comparison: arrays by method in, ``Figure`` out.

Letters: C classes, N images, K points of a curve. All shares and scores are in percent. A method
keeps its colour and line in every figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from ..analysis.figures import (
    MAX_NAMED_CLASSES,
    MISSED,
    NEUTRAL,
    WRONG,
    label_at_step_figure,
    shorten,
)
from ..analysis.statistics import JoinedLabels, cooccurrence, counts_at_step
from ..metrics.set_scores import sparse_label_matrix
from .results import Predictions, Result, value_at

# Okabe-Ito without yellow, which white paper swallows.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
# The paper's own strategies have solid lines.
FAMILIES = (
    ("pla", "mla", "frequent_first", "rare_first", "dictionary", "random"),
    ("bce", "asl", "csra", "order_free", "ocd", "order_search"),
    ("cnn_rnn", "ria", "sr_cnn_rnn"),
    ("pla_no_attention", "pla_gru", "pla_transformer", "mla_transformer"),
)
TITLES = {
    "pla": "PLA",
    "mla": "MLA",
    "frequent_first": "frequent-first",
    "rare_first": "rare-first",
    "bce": "BCE",
    "asl": "ASL",
    "csra": "CSRA",
    "order_free": "order-free RNN",
    "ocd": "OCD",
    "order_search": "order search",
    "cnn_rnn": "CNN-RNN",
    "ria": "RIA",
    "sr_cnn_rnn": "SR CNN-RNN",
    "pla_no_attention": "PLA, no attention",
    "pla_gru": "PLA, GRU",
    "pla_transformer": "PLA, Transformer",
    "mla_transformer": "MLA, Transformer",
    "prior": "label prior",
}
SCORES = {"max": "max over steps", "first": "first emission", "beam": "beam marginal"}
DEFAULT_DIAL = {"end_bias": 0.0, "stop_bias": 0.0, "threshold": 0.5}
# Steps of fewer images are not drawn: their shares are noise.
LEAST_IMAGES = 10
# Up to so many classes their counts are written into the cells.
MAX_WRITTEN = 8
Curve = Sequence[tuple[float, float]]


class Style(NamedTuple):
    """How a method is drawn."""

    color: str
    line: Any


class OperatingCurve(NamedTuple):
    """Precision and recall of one method along its dial, a bias or a threshold.

    Attributes:
        dial: the dial's values, ascending, shape (K,).
        recall: C-R at each, in percent, shape (K,).
        precision: C-P at each, in percent, shape (K,).
        default: the dial's value where nothing was tuned.
        tuned: the value chosen for C-F1; None where none was.
    """

    dial: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    default: float
    tuned: float | None

    def at(self, value: float) -> tuple[float, float]:
        """Recall and precision at a value of the dial, interpolated between the points."""
        return (
            float(np.interp(value, self.dial, self.recall)),
            float(np.interp(value, self.dial, self.precision)),
        )


def title_of(method: str) -> str:
    """How figures call a method."""
    return TITLES.get(method, method)


def style_of(method: str) -> Style:
    """Colour and line of a method; those that are not known are grey and dotted."""
    for line, family in zip(LINES, FAMILIES, strict=True):
        if method in family:
            return Style(COLORS[family.index(method)], line)
    return Style(MISSED, LINES[2])


def spread(places: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Move numbers apart, as little as that takes, and keep their order.

    Args:
        places: K numbers, such as the heights of lines' ends.
        gap: the least distance wanted.
        low: the least number wanted.
        high: the largest; where K of them do not fit, the gap wins.

    Returns:
        The moved numbers, in the order given, shape (K,).
    """
    order = np.argsort(places, kind="stable")
    # Least squares under an order, once the gaps are taken off (pool adjacent violators).
    blocks: list[list[float]] = []  # mean and number of each block
    for rank, place in enumerate(np.asarray(places, dtype=np.float64)[order]):
        blocks.append([place - rank * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, size = blocks.pop()
            other, other_size = blocks[-1]
            total = size + other_size
            blocks[-1] = [(mean * size + other * other_size) / total, total]
    flat = np.concatenate([np.full(int(size), mean) for mean, size in blocks] or [np.empty(0)])
    moved = np.empty(len(flat))
    flat = np.maximum(np.minimum(flat, high - gap * (len(flat) - 1)), low)
    moved[order] = flat + gap * np.arange(len(flat))
    return moved


def loss_curves_figure(curves: Mapping[str, Sequence[Curve]], log_scale: bool = False) -> Figure:
    """Training loss of each method (paper, Figure 5): the mean of its seeds, and their range.

    Args:
        curves: by method, for each seed its points (epoch, loss).
        log_scale: whether losses are on a logarithmic axis.
    """
    figure = _figure(9.0, max(4.8, 0.24 * len(curves) + 1.2))
    axes = figure.subplots()
    ends: dict[str, float] = {}
    last = 0.0
    for method, seeds in curves.items():
        points = [np.asarray(seed, dtype=np.float64) for seed in seeds if len(seed)]
        if not points:
            continue
        # Where all seeds have been: a run that was stopped early ends the mean.
        start, stop = max(p[0, 0] for p in points), min(p[-1, 0] for p in points)
        epochs = np.unique(np.concatenate([p[:, 0] for p in points]))
        epochs = epochs[(epochs >= start) & (epochs <= stop)]
        losses = np.stack([np.interp(epochs, p[:, 0], p[:, 1]) for p in points])  # (seeds, K)
        style = style_of(method)
        mean = losses.mean(axis=0)
        axes.plot(epochs, mean, color=style.color, linestyle=style.line, label=title_of(method))
        if len(losses) > 1:
            band = losses.min(axis=0), losses.max(axis=0)
            axes.fill_between(epochs, *band, color=style.color, alpha=0.15, linewidth=0)
        if len(mean):
            ends[method], last = float(mean[-1]), max(last, float(epochs[-1]))
    if log_scale:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 2.5, 3, 4, 5, 7)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss (the method's own)")
    axes.set_title("loss while training: mean of the seeds, and their range")
    _plain(axes)
    _label_ends(axes, ends, last)
    return figure


def _label_ends(axes: Axes, ends: Mapping[str, float], x: float) -> None:
    """Write each line's name beside its end, moved apart where they would overlap."""
    if not ends:
        return
    axes.margins(x=0.01)
    axes.autoscale_view()
    to_axes = axes.transScale + axes.transLimits
    heights = [float(to_axes.transform((x, end))[1]) for end in ends.values()]
    size = axes.get_figure().get_size_inches()[1]  # type: ignore[union-attr]
    places = spread(heights, 0.2 / (size - 1.0), 0.0, 1.0)
    for (method, end), place in zip(ends.items(), places, strict=True):
        axes.annotate(
            title_of(method),
            xy=(x, end),
            xytext=(1.06, place),
            textcoords="axes fraction",
            va="center",
            fontsize=9,
            color=style_of(method).color,
            parse_math=False,
            arrowprops=dict(
                arrowstyle="-",
                color=style_of(method).color,
                linestyle=style_of(method).line,
                linewidth=0.8,
                shrinkA=0,
                shrinkB=2,
                relpos=(0, 0.5),
            ),
        )


def cooccurrence_difference_figure(
    differences: Mapping[str, np.ndarray],
    classes: Sequence[str],
    groups: Mapping[str, Sequence[int]] | None = None,
) -> Figure:
    """Predicted minus true co-occurrence of each method (paper, Figure 6), on one scale.

    Red: the two labels are predicted together too often; blue: too rarely.

    Args:
        differences: by method image counts, predicted minus true, shape (C, C).
        classes: class names, C strings.
        groups: class indices by group name. Only these classes are shown, group by group, with a
            frame around each group's own pairs; None shows all classes in the order given.
    """
    shown = [c for members in groups.values() for c in members] if groups else range(len(classes))
    indices = np.array(list(shown), dtype=np.int64)
    panels = {name: np.asarray(d)[np.ix_(indices, indices)] for name, d in differences.items()}
    columns = min(len(panels), 4) or 1
    rows = -(-len(panels) // columns) or 1
    few = len(indices) <= 30
    side = float(np.clip(0.16 * len(indices) + 0.6, 2.2, 3.2))
    figure = _figure(columns * side + 2.6, rows * (side + 0.45) + (1.3 if few else 0.5))
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    counts = np.abs(np.concatenate([panel.ravel() for panel in panels.values()] or [np.zeros(1)]))
    # Colours saturate at the 99th percentile, or a class that is everywhere would hide the others.
    largest = max(1.0, float(np.percentile(counts, 99))) if counts.size else 1.0
    image = None
    for axes, (method, panel) in zip(grid.flat, panels.items()):
        image = axes.imshow(panel, norm=CenteredNorm(0, largest), cmap="RdBu_r")
        pairs = panel[np.triu_indices(len(indices), 1)]
        mean = f"mean |Δ| {np.abs(pairs).mean():.1f}" if pairs.size else "no pair"
        axes.set_title(f"{title_of(method)}\n{mean}", fontsize=10, parse_math=False)
        axes.tick_params(length=0)
        if len(indices) <= MAX_WRITTEN:
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
    places: np.ndarray
    if few:
        places, names = np.arange(len(indices)), [shorten(classes[i]) for i in indices]
    elif groups:
        sizes = np.array([len(members) for members in groups.values()])
        places, names = np.cumsum(sizes) - sizes / 2 - 0.5, [shorten(name) for name in groups]
    else:
        places, names = np.empty(0), []
    for axes in _lowest_panels(grid, len(panels)):
        axes.set_xticks(places, names, rotation=90, fontsize=8, parse_math=False)
    for axes in grid[:, 0]:
        axes.set_yticks(places, names, fontsize=8, parse_math=False)
    if not few and not groups:
        figure.supxlabel(f"the {len(indices)} classes, the most frequent first", fontsize=10)
    if image is not None:
        figure.colorbar(
            image,
            ax=grid,
            shrink=min(0.8, 1.2 / rows),
            extend="both",
            label="images with both labels,\npredicted − true",
        )
    return figure


def operating_curve_figure(curves: Mapping[str, OperatingCurve]) -> Figure:
    """Precision against recall along each method's dial, with lines of equal C-F1.

    One panel a method, the others in grey behind it: many curves run close together.
    """
    columns = min(len(curves), 4) or 1
    rows = -(-len(curves) // columns) or 1
    figure = _figure(columns * 2.7 + 0.6, rows * 2.7 + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    # What lies near a default or tuned point matters; the ends of a dial are far out.
    marks = np.array(
        [
            curve.at(value)
            for curve in curves.values()
            for value in (curve.default, curve.tuned)
            if value is not None
        ]
        or [(50.0, 50.0)]
    )
    low = np.maximum(np.floor(marks.min(axis=0) / 5) * 5 - 10, 0)
    high = np.minimum(np.ceil(marks.max(axis=0) / 5) * 5 + 10, 100)
    for axes, (method, curve) in zip(grid.flat, curves.items()):
        _draw_equal_f1(axes, low, high)
        for other in curves.values():
            axes.plot(other.recall, other.precision, color="#BBBBBB", linewidth=0.8, zorder=1)
        color = style_of(method).color
        axes.plot(curve.recall, curve.precision, color=color, linewidth=1.8, gid=method)
        f1 = []
        for value, marker in ((curve.default, "o"), (curve.tuned, "D")):
            if value is None:
                continue
            recall, precision = curve.at(value)
            axes.plot(
                *(recall, precision),
                marker=marker,
                color=color,
                markerfacecolor="white" if marker == "o" else color,
                linestyle="none",
                zorder=3,
            )
            f1.append(f"{_harmonic(recall, precision):.1f}")
        axes.set_title(f"{title_of(method)}\nC-F1 {' → '.join(f1)}", fontsize=10, parse_math=False)
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        _plain(axes)
    for axes in _lowest_panels(grid, len(curves)):
        axes.set_xlabel("C-R (%)")
    for axes in grid[:, 0]:
        axes.set_ylabel("C-P (%)")
    plain: dict[str, Any] = dict(color="#444444", linestyle="none")
    figure.legend(
        handles=[
            Line2D([], [], marker="o", markerfacecolor="white", label="default", **plain),
            Line2D([], [], marker="D", label="tuned for C-F1", **plain),
            Line2D([], [], color="#BBBBBB", label="other methods"),
            Line2D([], [], color="#888888", linestyle=":", label="equal C-F1"),
        ],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    return figure


def _draw_equal_f1(axes: Axes, low: np.ndarray, high: np.ndarray) -> None:
    """Lines of equal C-F1 every five points, labelled at the right or upper edge."""
    for f1 in range(5, 100, 5):
        recall = np.linspace(f1 / 2 + 0.1, 100, 400)
        precision = f1 * recall / (2 * recall - f1)
        inside = (recall >= low[0]) & (recall <= high[0])
        inside &= (precision >= low[1]) & (precision <= high[1])
        if inside.sum() < 2:
            continue
        recall, precision = recall[inside], precision[inside]
        axes.plot(recall, precision, color="#888888", linestyle=":", linewidth=0.7, zorder=0)
        if f1 % 10 == 0:
            axes.text(recall[-1], precision[-1], f"{f1}", fontsize=7, color="#666666", ha="right")


def _harmonic(a: float, b: float) -> float:
    return 2 * a * b / (a + b) if a + b else 0.0


def label_count_figure(differences: Mapping[str, np.ndarray], most: int = 4) -> Figure:
    """By how many labels each method's sets are too small or too large.

    Args:
        differences: by method predicted minus true number of labels, ints, shape (N,).
        most: larger differences share the outermost columns.
    """
    methods = list(differences)
    values = np.arange(-most, most + 1)
    share = np.zeros((len(methods), len(values)))
    for i, difference in enumerate(differences.values()):
        counts = np.bincount(np.clip(difference, -most, most) + most, minlength=len(values))
        share[i] = 100 * counts / max(len(difference), 1)
    figure = _figure(9.0, 0.32 * len(methods) + 1.5)
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
    # At the right: mean (bias) and mean absolute difference.
    right = axes.secondary_yaxis("right")
    means = [(float(np.mean(d)), float(np.abs(d).mean())) for d in differences.values()]
    texts = [f"{bias:+.2f}   {error:.2f}".replace("-", "−") for bias, error in means]
    right.set_yticks(range(len(methods)), texts)
    right.tick_params(length=0)
    right.set_ylabel("mean, mean |difference|")
    axes.set_title("error of the number of labels: share of the images (%)")
    return figure


def rigidness_figure(rigidness: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Figure:
    """Order-rigidness of each method, beside what its sets would have in a random order.

    Args:
        rigidness: by method, for each seed the rigidness and its expectation when the same sets
            are ordered uniformly at random, in percent.
    """
    figure = _figure(7.5, 0.32 * len(rigidness) + 1.7)
    axes = figure.subplots()
    for i, (method, (values, random)) in enumerate(rigidness.items()):
        color = style_of(method).color
        axes.plot([np.mean(random), np.mean(values)], [i, i], color=color, linewidth=1.2, zorder=1)
        axes.plot(values, [i] * len(values), "o", color=color, markersize=5, gid=method)
        axes.plot(random, [i] * len(random), "|", color="#444444", markersize=13, gid="random")
        text = f"{np.mean(values):.1f} ({np.mean(random):.1f})"
        axes.annotate(
            text,
            (1.02, i),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
            annotation_clip=False,
        )
    _name_rows(axes, list(rigidness))
    axes.set_xlim(48, 101)
    axes.set_xlabel("order-rigidness (%); 100: one fixed order")
    axes.set_title("rigidness of the order (expected at random)", fontsize=11)
    figure.legend(
        handles=[
            Line2D([], [], marker="o", color="#444444", linestyle="none", label="each seed"),
            Line2D(
                [],
                [],
                marker="|",
                markersize=13,
                color="#444444",
                linestyle="none",
                label="expected of the same sets in random order",
            ),
        ],
        loc="outside lower center",
        ncols=2,
        frameon=False,
        fontsize=9,
    )
    return figure


def score_comparison_figure(scores: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Mean average precision of each method by the kind of score that ranks the images.

    Args:
        scores: by method, by kind (`max`, `first`, `beam` or another), mAP in percent of each seed.
    """
    kinds = list(dict.fromkeys(kind for by_kind in scores.values() for kind in by_kind))
    markers = dict(zip(kinds, "oDs^vPX"))
    colors = dict(zip(kinds, (NEUTRAL, WRONG, *COLORS[2:])))
    figure = _figure(7.0, 0.34 * len(scores) + 1.7)
    axes = figure.subplots()
    for i, by_kind in enumerate(scores.values()):
        means = [float(np.mean(values)) for values in by_kind.values()]
        axes.plot([min(means), max(means)], [i, i], color="#BBBBBB", linewidth=1.2, zorder=1)
        for kind, mean in zip(by_kind, means, strict=True):
            axes.plot(mean, i, markers[kind], color=colors[kind], markersize=6, gid=kind)
    _name_rows(axes, list(scores))
    axes.set_xlabel("mAP (%), mean of the seeds")
    axes.set_title("which score ranks best", fontsize=11)
    axes.legend(
        handles=[
            Line2D(
                [],
                [],
                marker=markers[kind],
                color=colors[kind],
                linestyle="none",
                label=SCORES.get(kind, kind),
            )
            for kind in kinds
        ],
        loc="upper left",
        bbox_to_anchor=(1.01, 1),
        frameon=False,
        fontsize=9,
    )
    return figure


def all_figures(
    results: Mapping[str, Sequence[Result]],
    predictions: Mapping[str, Predictions],
    groups: Mapping[str, Sequence[int]] | None = None,
) -> dict[str, Figure]:
    """Draw every figure that the results have data for.

    Args:
        results: by method the content of `result.json` of each seed.
        predictions: by method the arrays of `predictions.npz` of its first seed.
        groups: class indices by group name, such as COCO's supercategories.

    Returns:
        Figures by name: `loss_curves` of the sequence models and `loss_curves_independent` of the
        others, `rigidness`, `label_count`, `operating_curve`, `score_comparison`,
        `cooccurrence_difference` (and one `cooccurrence_difference_GROUP` for each group of two
        or more classes), and `label_at_step_METHOD`.
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

    rigidness = {method: _rigidness(seeds) for method, seeds in results.items()}
    rigidness = {method: values for method, values in rigidness.items() if values[0]}
    if rigidness:
        figures["rigidness"] = rigidness_figure(rigidness)

    counts = {
        method: arrays["predicted_length"].astype(np.int64) - arrays["truth_length"]
        for method, arrays in predictions.items()
    }
    if counts:
        figures["label_count"] = label_count_figure(counts)

    operating = {method: operating_curve(seeds[0]) for method, seeds in results.items() if seeds}
    drawn = {method: curve for method, curve in operating.items() if curve is not None}
    if drawn:
        figures["operating_curve"] = operating_curve_figure(drawn)
        figures["operating_curve"].suptitle("held-out images, first seed", fontsize=10)

    scores = {method: _score_kinds(seeds) for method, seeds in results.items()}
    scores = {method: kinds for method, kinds in scores.items() if kinds}
    if scores:
        figures["score_comparison"] = score_comparison_figure(scores)

    figures.update(_cooccurrence_figures(predictions, groups))
    for method, arrays in predictions.items():
        if "sequence" in arrays and arrays["sequence"].size:
            figure = _label_at_step(method, arrays)
            if figure is not None:
                figures[f"label_at_step_{method}"] = figure
    return figures


def _label_at_step(method: str, arrays: Predictions) -> Figure | None:
    """The labels at each step that enough images have; None where no step has."""
    classes = [str(name) for name in arrays["classes"]]
    joined = JoinedLabels(arrays["sequence"].astype(np.int64), arrays["sequence_length"])
    counts = counts_at_step(joined, len(classes))
    shown = int((counts.sum(axis=1) >= LEAST_IMAGES).sum())  # the images become fewer by step
    if not shown:
        return None
    figure = label_at_step_figure(counts[:shown], classes)
    figure.axes[0].set_title(f"{title_of(method)}: labels at each step")
    if shown < len(counts):
        figure.axes[1].set_xlabel(
            f"decoding step\n(from step {shown + 1} on fewer than {LEAST_IMAGES} images: left out)"
        )
    return figure


def operating_curve(result: Result) -> OperatingCurve | None:
    """The curve in a run's result, on the images that the dial was tuned on; None without one.

    Args:
        result: the content of `result.json`.
    """
    points = sorted(result.get("dial_curve") or [], key=lambda point: float(point["value"]))
    default = value_at(result, ("dial_default",))
    if default is None:  # a result of an earlier version
        default = DEFAULT_DIAL.get(str(result.get("dial")))
    if default is None or not points:
        return None
    dial, recall, precision = (
        np.array([point[key] for point in points]) for key in ("value", "CR", "CP")
    )
    tuned = value_at(result, ("tuned", "CF1", "value"))
    return OperatingCurve(dial, recall, precision, default, tuned)


def _rigidness(seeds: Sequence[Result]) -> tuple[list[float], list[float]]:
    """Rigidness and its expectation, of the seeds that have both."""
    pairs = [
        [value_at(seed, ("default", key)) for key in ("rigidness", "rigidness_random")]
        for seed in seeds
    ]
    known = [(value, random) for value, random in pairs if value is not None and random is not None]
    return [value for value, _ in known], [random for _, random in known]


def _score_kinds(seeds: Sequence[Result]) -> dict[str, list[float]]:
    """Scores (mAP) of each seed by the kind of score, where a run has compared them."""
    kinds: dict[str, list[float]] = {}
    for seed in seeds:
        for kind in seed.get("mAP_by_score") or {}:
            value = value_at(seed, ("mAP_by_score", kind))
            if value is not None:
                kinds.setdefault(kind, []).append(value)
    return kinds


def _cooccurrence_figures(
    predictions: Mapping[str, Predictions], groups: Mapping[str, Sequence[int]] | None
) -> dict[str, Figure]:
    """The co-occurrence differences of all methods, and again for each group of classes.

    Without groups the classes are ordered by how many images have them, and only the most frequent
    ones are drawn where there are many.
    """
    if not predictions:
        return {}
    first = next(iter(predictions.values()))
    classes = [str(name) for name in first["classes"]]

    def sets(arrays: Predictions, name: str) -> Any:
        joined = JoinedLabels(arrays[name].astype(np.int64), arrays[f"{name}_length"])
        return sparse_label_matrix(joined, len(classes), name)

    true_sets = sets(first, "truth")
    by_frequency = np.argsort(-true_sets.sum(axis=0), kind="stable")
    if groups:
        kept = np.arange(len(classes))
    else:
        kept = by_frequency[:MAX_NAMED_CLASSES]
    true_counts = cooccurrence(true_sets[:, kept].toarray())
    differences = {
        method: cooccurrence(sets(arrays, "predicted")[:, kept].toarray()) - true_counts
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


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")


def _lowest_panels(grid: np.ndarray, number: int) -> list[Axes]:
    """The lowest panel of each column, with its tick labels; panels beyond a number are blanked."""
    rows, columns = grid.shape
    for axes in grid.flat[number:]:
        axes.set_axis_off()
    lowest = []
    for column in range(columns):
        last = rows - 1 if (rows - 1) * columns + column < number else rows - 2
        grid[last, column].tick_params(labelbottom=True)
        lowest.append(grid[last, column])
    return lowest


def _plain(axes: Axes) -> None:
    """Take off what carries no information."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#EEEEEE", linewidth=0.6)
    axes.set_axisbelow(True)


def _name_rows(axes: Axes, methods: Sequence[str]) -> None:
    """One row a method, the first at the top."""
    axes.set_yticks(range(len(methods)), [title_of(method) for method in methods], parse_math=False)
    axes.set_ylim(len(methods) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    _plain(axes)
