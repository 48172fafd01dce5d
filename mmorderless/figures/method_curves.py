"""Curves of several methods: loss by epoch, precision against recall."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from mmorderless.figures.style import lowest_panels, new_figure, strip_axes, style_of, title_of

Curve = Sequence[tuple[float, float]]

MAX_NAMED_CURVES = 12
OTHERS: dict[str, Any] = dict(color="#BBBBBB", linewidth=0.8, zorder=1, label="other methods")


class OperatingCurve(NamedTuple):
    """Precision and recall of a method as its operating parameter varies.

    Attributes:
        values: values of the parameter (a bias or a threshold), ascending, shape (K,).
        recall: C-R at each value, in percent, shape (K,).
        precision: C-P at each value, in percent, shape (K,).
        default: default value; None if the default label sets are those of no value.
        tuned: value chosen for C-F1; None if none was chosen.
    """

    values: np.ndarray
    recall: np.ndarray
    precision: np.ndarray
    default: float | None
    tuned: float | None

    def at(self, value: float) -> tuple[float, float]:
        """Return recall and precision at a value, interpolated between the points."""
        return (
            float(np.interp(value, self.values, self.recall)),
            float(np.interp(value, self.values, self.precision)),
        )


def loss_curves_figure(curves: Mapping[str, Sequence[Curve]], log_scale: bool = False) -> Figure:
    """Draw the training loss of each method (paper, Figure 5): mean and range over its seeds.

    Args:
        curves: by method, the points (epoch, loss) of each seed.
        log_scale: whether the loss axis is logarithmic.
    """
    figure = new_figure(9.0, max(4.8, 0.24 * len(curves) + 1.2))
    axes = figure.subplots()
    last_losses: list[tuple[float, Line2D]] = []
    for method, seeds in curves.items():
        points = [np.asarray(seed, dtype=np.float64) for seed in seeds if len(seed)]
        if not points:
            continue
        # Epochs of all seeds: the mean ends where the first run does.
        start, stop = max(p[0, 0] for p in points), min(p[-1, 0] for p in points)
        epochs = np.unique(np.concatenate([p[:, 0] for p in points]))
        epochs = epochs[(epochs >= start) & (epochs <= stop)]
        losses = np.stack([np.interp(epochs, p[:, 0], p[:, 1]) for p in points])  # (seeds, K)
        style = style_of(method)
        mean = losses.mean(axis=0)
        [line] = axes.plot(
            epochs, mean, color=style.color, linestyle=style.line, label=title_of(method)
        )
        if len(losses) > 1:
            band = losses.min(axis=0), losses.max(axis=0)
            axes.fill_between(epochs, *band, color=style.color, alpha=0.15, linewidth=0)
        if len(mean):
            last_losses.append((float(mean[-1]), line))
    if log_scale:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 2.5, 3, 4, 5, 7)))
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("epoch")
    axes.set_ylabel("training loss (the method's own)")
    axes.set_title("training loss: mean and range over the seeds")
    strip_axes(axes)
    if last_losses:
        last_losses.sort(key=lambda item: -item[0])  # as the lines end, from top to bottom
        legend = axes.legend(
            handles=[line for _, line in last_losses],
            loc="upper left",
            bbox_to_anchor=(1.01, 1),
            frameon=False,
            fontsize=9,
        )
        for text in legend.get_texts():
            text.set_parse_math(False)
    return figure


def operating_curve_figure(curves: Mapping[str, OperatingCurve]) -> Figure:
    """Draw precision against recall for each method, with lines of equal C-F1.

    Each method has a panel with the other methods in gray, because many curves are close together.
    """
    columns = min(len(curves), 4) or 1
    rows = -(-len(curves) // columns) or 1
    figure = new_figure(columns * 2.7 + 0.6, rows * 2.7 + 0.9)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    # Show the region around the default and tuned points; the ends of the curves are far away.
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
            axes.plot(other.recall, other.precision, **OTHERS)
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
        strip_axes(axes)
    for axes in lowest_panels(grid, len(curves)):
        axes.set_xlabel("C-R (%)")
    for axes in grid[:, 0]:
        axes.set_ylabel("C-P (%)")
    plain: dict[str, Any] = dict(color="#444444", linestyle="none")
    figure.legend(
        handles=[
            Line2D([], [], marker="o", markerfacecolor="white", label="default", **plain),
            Line2D([], [], marker="D", label="tuned for C-F1", **plain),
            Line2D([], [], **OTHERS),
            Line2D([], [], color="#888888", linestyle=":", label="equal C-F1"),
        ],
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    return figure


def _draw_equal_f1(axes: Axes, low: np.ndarray, high: np.ndarray) -> None:
    """Draw lines of equal C-F1 every five points, labeled at the right or upper edge."""
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


class Panel(NamedTuple):
    """Curves of several methods.

    Attributes:
        title: what is drawn, in percent.
        label: what it is drawn against.
        curves: by method, rows of x, mean and standard deviation (None for a single value).
    """

    title: str
    label: str
    curves: Mapping[str, Sequence[tuple[float, float, float | None]]]


def panels_figure(panels: Sequence[Panel], columns: int = 3) -> Figure:
    """Draw panels with the same methods: means over the seeds with their standard deviations.

    The legend is ordered by the last value of the first panel. Of many methods the best ones in
    this order are named, and the worst of these ends the axes; the others are gray.
    """
    rows = -(-len(panels) // columns)
    last = {method: points[-1][1] for method, points in panels[0].curves.items()}
    methods = {method: None for panel in panels for method in panel.curves}
    named = sorted(methods, key=lambda method: -last.get(method, 0))[:MAX_NAMED_CURVES]
    figure = new_figure(columns * 3.3 + 2.6, rows * 3.2)
    grid = figure.subplots(rows, columns, squeeze=False)
    lines: dict[str, Line2D] = {}
    others = [Line2D([], [], **OTHERS)] if len(methods) > len(named) else []
    for axes, panel in zip(grid.flat, panels):
        for method, points in panel.curves.items():
            x, mean, deviation = zip(*points)
            if method not in named:
                axes.plot(x, mean, **OTHERS)
                continue
            style = style_of(method)
            [line] = axes.plot(
                *(x, mean),
                color=style.color,
                linestyle=style.line,
                marker="o",
                markersize=3,
                label=title_of(method),
                gid=method,
            )
            lines.setdefault(method, line)
            if all(value is not None for value in deviation):
                low, high = (np.add(mean, sign * np.array(deviation)) for sign in (-1, 1))
                axes.fill_between(x, low, high, color=style.color, alpha=0.15, linewidth=0)
        means = [mean for method in named for _, mean, _ in panel.curves.get(method, ())]
        if others and means:
            axes.set_ylim(bottom=min(means) - 1)
        axes.set_xticks(sorted({x for points in panel.curves.values() for x, *_ in points}))
        axes.set_xlabel(panel.label)
        axes.set_title(f"{panel.title} (%)", fontsize=10)
        strip_axes(axes)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    legend = figure.legend(
        handles=[lines[method] for method in named] + others,
        loc="outside right upper",
        frameon=False,
        fontsize=9,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure
