"""Figures of one image: alignment, attention and order of its labels.

Letters: n labels of the image, S emitted labels, h·w cells of the feature map.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch, Rectangle

from mmorderless.figures.style import HIT, MISSED, NEUTRAL, WRONG, as_rgb, new_figure, shorten

MLA_COLOR, PLA_COLOR = NEUTRAL, WRONG
REPEATED = "#AA3377"
AGREES = "#CBEBDF"
CELL = "#F2F2F2"
# Light grays only, so that numbers and marks stay readable in every cell.
GREYS = ListedColormap(matplotlib.colormaps["Greys"](np.linspace(0, 0.45, 256)))


def alignment_figure(
    cost: np.ndarray,
    mla: np.ndarray,
    pla: np.ndarray,
    predicted: Sequence[str],
    labels: Sequence[str],
) -> Figure:
    """Draw the cost of each label at each step, and the assignments (paper, Figures 3 and 4).

    PLA pins a label to the first step that predicts it. Predicted labels that the image has are
    bold.

    Args:
        cost: cross-entropy in nats of label j at step t, infinite where it cannot be emitted,
            shape (n, n).
        mla: index j of the label that MLA assigns to each step, shape (n,).
        pla: index j of the label that PLA assigns to each step, shape (n,).
        predicted: names of the labels emitted at the first n steps.
        labels: names of the image's n labels.

    Raises:
        ValueError: there is no label, or the shapes differ.
    """
    cost, mla, pla = np.asarray(cost, dtype=np.float64), np.asarray(mla), np.asarray(pla)
    n = len(labels)
    if n == 0:
        raise ValueError("the image has no label to align; choose another image")
    if cost.shape != (n, n) or mla.shape != (n,) or pla.shape != (n,) or len(predicted) != n:
        raise ValueError(
            f"{n} labels need a cost of shape ({n}, {n}), two assignments of shape ({n},) and {n} "
            f"predictions, got {cost.shape}, {mla.shape}, {pla.shape} and {len(predicted)}"
        )

    cell = float(np.clip(8 / n, 0.55, 0.8))  # inches
    # The title and the legend need their width even for one label.
    figure = new_figure(max(cell * n + 3.6, 5.8), max(cell * n, 1.2) + 2.4)
    axes = figure.subplots()
    highest = float(cost.max(initial=1.0, where=np.isfinite(cost)))
    image = axes.imshow(cost, cmap=GREYS, norm=PowerNorm(0.5, 0, highest))
    figure.colorbar(image, ax=axes, shrink=0.8, label="cost (nats, square-root scale)")
    for t in range(n):
        for j in range(n):
            axes.text(j, t, f"{cost[t, j]:.2f}", ha="center", va="center", fontsize=8)
        corner = (mla[t] - 0.45, t - 0.45)
        axes.add_patch(Rectangle(corner, 0.9, 0.9, gid="mla", **_outline(MLA_COLOR, 2.0)))
        if predicted[t] == labels[pla[t]]:
            pla_style = dict(gid="pla pinned", **_outline(PLA_COLOR, 3.0))
        else:
            pla_style = dict(gid="pla", **_outline(PLA_COLOR, 1.8), linestyle=(0, (3, 2)))
        axes.add_patch(Circle((pla[t], t), 0.38, **pla_style))

    steps = np.arange(n)
    rows = [f"{shorten(name)}   {t + 1}" for t, name in enumerate(predicted)]
    axes.set_yticks(steps, rows, fontsize=9, parse_math=False)
    for tick, name in zip(axes.get_yticklabels(), predicted, strict=True):
        tick.set_fontweight("bold" if name in set(labels) else "normal")
    rotated: dict[str, Any] = dict(rotation=35, ha="right", rotation_mode="anchor") if n > 2 else {}
    names = [shorten(name) for name in labels]
    axes.set_xticks(steps, names, fontsize=9, parse_math=False, **rotated)
    axes.tick_params(length=0)
    axes.set_ylabel("emitted label, decoding step")
    axes.set_xlabel("label of the image")
    losses = (float(cost[steps, assignment].sum()) for assignment in (pla, mla))
    axes.set_title("summed loss: PLA {:.2f} nats, MLA {:.2f} nats".format(*losses), fontsize=11)
    figure.legend(
        handles=[
            Patch(label="PLA, pinned", **_outline(PLA_COLOR, 3.0)),
            Patch(label="PLA, assigned", **_outline(PLA_COLOR, 1.8), linestyle=(0, (3, 2))),
            Patch(label="MLA", **_outline(MLA_COLOR, 2.0)),
        ],
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return figure


def _outline(color: str, width: float) -> dict[str, Any]:
    return dict(fill=False, edgecolor=color, linewidth=width)


def attention_figure(
    image: np.ndarray,
    attention: np.ndarray,
    names: Sequence[str],
    probabilities: Sequence[float],
    true_names: Sequence[str] | None = None,
) -> Figure:
    """Draw the attention of each emitted label over the photo, one panel per label.

    All maps share one scale from 0 to the largest weight. The first panel is the photo itself.
    Repeated labels are marked, and, if the truth is known, wrong ones.

    Args:
        image: the part of the photo that the cells divide evenly, uint8 RGB, shape (H, W, 3).
        attention: weights over the cells, each map sums to 1, shape (S, h, w).
        names: names of the emitted labels, S strings.
        probabilities: probability of each emitted label, between 0 and 1.
        true_names: names of the true labels.

    Raises:
        ValueError: the image is not uint8 RGB, or the numbers of maps, names and probabilities
            differ.
    """
    image, attention = as_rgb(image), np.asarray(attention, dtype=np.float64)
    if attention.ndim != 3 or not len(attention) == len(names) == len(probabilities):
        raise ValueError(
            f"got attention of shape {attention.shape}, {len(names)} names and "
            f"{len(probabilities)} probabilities; give a map (h, w) and a probability per name"
        )
    height, width = image.shape[:2]
    num_panels = len(names) + 1
    columns = min(num_panels, 5)
    rows = -(-num_panels // columns)
    side = 2.3  # inches
    panel_height = side * float(np.clip(height / width, 0.4, 1.8))
    # Even a single panel needs the width of its title.
    figure = new_figure(max(columns * side + 1.1, 4.0), rows * (panel_height + 0.6))
    panels: list[Axes] = list(np.ravel(figure.subplots(rows, columns, squeeze=False)))
    for panel in panels:
        panel.set_axis_off()
    panels[0].imshow(image)
    panels[0].set_title("image" if len(names) else "image: no label emitted", fontsize=10)

    # Gray below the map, because the photo's colors could be mistaken for attention.
    gray = image @ np.array([0.299, 0.587, 0.114])
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    largest = float(attention.max(initial=0)) or 1.0
    heat = None
    for t, (name, probability) in enumerate(zip(names, probabilities, strict=True)):
        panel = panels[t + 1]
        panel.imshow(gray, cmap="gray", vmin=0, vmax=255)
        heat = panel.imshow(
            attention[t],
            extent=extent,
            interpolation="bicubic",
            cmap="inferno",
            vmin=0,
            vmax=largest,
            alpha=0.6,
        )
        mark, color = _verdict(name, names[:t], true_names)
        title = f"{shorten(name)}\n{t + 1}: {probability:.2f}{mark}"
        panel.set_title(title, fontsize=10, color=color, parse_math=False)
    if heat is not None:
        uniform = 1 / attention[0].size
        figure.colorbar(heat, ax=panels, shrink=0.8, label=f"attention (uniform: {uniform:.3f})")
    return figure


def _verdict(name: str, before: Sequence[str], true_names: Sequence[str] | None) -> tuple[str, str]:
    """Return the mark and color of an emitted label."""
    if name in before:
        return " ↻ repeated", REPEATED
    if true_names is None:
        return "", "black"
    return (" ✓", HIT) if name in true_names else (" ✗ wrong", WRONG)


def ordering_figure(
    orders: Mapping[str, Sequence[str]],
    costs: Mapping[str, Sequence[float]],
    end_cost: float,
    predicted: Sequence[str],
) -> Figure:
    """Draw the target sequence of each strategy next to the emitted sequence (paper, Figure 3).

    A label is bold on green if it is at the step at which the model emits it: there the strategy
    does not penalize a correct prediction for its position.

    Args:
        orders: by strategy, the names of the image's n labels in its order.
        costs: by strategy, the cross-entropy in nats of its label at each of n steps.
        end_cost: cross-entropy in nats of END at the next step, equal for all strategies.
        predicted: names of the S labels emitted before END.
    """
    labels = next(iter(orders.values()), ())
    num_rows = max(len(labels), len(predicted)) + 1  # END
    column, margin, line, numbers = 2.15, 0.15, 0.3, 0.35  # inches
    width = numbers + column * (1 + len(orders)) + 2 * margin
    height = line * (num_rows + 4) + 2 * margin
    figure = Figure(figsize=(width, height), dpi=100, facecolor="white")
    axes = figure.add_axes(
        (margin / width, margin / height, 1 - 2 * margin / width, 1 - 2 * margin / height)
    )
    axes.set_axis_off()
    axes.set_xlim(0, width - 2 * margin)
    axes.set_ylim(num_rows + 4, 0)

    def write(x: float, row: float, text: str, **style: Any) -> None:
        style = {"fontsize": 10, "va": "center", **style}
        axes.text(x, row + 0.5, text, parse_math=False, **style)

    def box(x: float, row: int, color: str) -> None:
        axes.add_patch(Rectangle((x, row + 0.06), column - 0.12, 0.88, facecolor=color))

    for t in range(num_rows):
        write(numbers - 0.12, t + 2, f"{t + 1}", color=MISSED, ha="right")
    write(numbers + 0.08, 0, "the model emits", weight="bold")
    for t, name in enumerate(predicted):
        mark, color = _verdict(name, predicted[:t], labels)
        box(numbers, t + 2, CELL)
        write(numbers + 0.08, t + 2, shorten(name), color=color)
        write(numbers + column - 0.2, t + 2, mark.split()[0], color=color, ha="right")
    write(numbers + 0.08, len(predicted) + 2, "END", color=MISSED, style="italic")

    for k, (strategy, order) in enumerate(orders.items()):
        x = numbers + column * (k + 1)
        write(x + 0.08, 0, strategy, weight="bold")
        write(x + 0.08, 1, f"loss {sum(costs[strategy]):.2f} nats")
        for t, (name, cost) in enumerate(zip(order, costs[strategy], strict=True)):
            agrees = t < len(predicted) and predicted[t] == name
            box(x, t + 2, AGREES if agrees else CELL)
            write(x + 0.08, t + 2, shorten(name), weight="bold" if agrees else "normal", fontsize=9)
            write(x + column - 0.2, t + 2, f"{cost:.2f}", color="#444444", ha="right", fontsize=9)
        write(x + 0.08, len(order) + 2, "END", color=MISSED, style="italic")
    note = (
        "Losses are summed over the labels' steps; END adds "
        f"{end_cost:.2f} nats to each. Bold on green: at the step where the model emits it."
    )
    write(numbers + 0.08, num_rows + 2.8, note, color="#444444", fontsize=9)
    return figure
