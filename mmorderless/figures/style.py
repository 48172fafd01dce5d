"""Colors, line styles and names shared by all figures."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from mmorderless.figures.fonts import drawable_names

# With more classes their names would overlap; the ticks then show class indices.
MAX_NAMED_CLASSES = 100
# Okabe-Ito colors, which are distinct for color-blind readers.
HIT, WRONG, MISSED, NEUTRAL = "#009E73", "#D55E00", "#767676", "#0072B2"


def figure_to_rgb(figure: Figure) -> np.ndarray:
    """Render a figure to pixels, uint8 RGB, shape (H, W, 3)."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def as_rgb(image: np.ndarray) -> np.ndarray:
    """Return an image as an array; raise a ValueError unless it is uint8 RGB, shape (H, W, 3)."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(
            f"an image must be uint8 RGB of shape (H, W, 3), got {image.dtype} of shape "
            f"{image.shape}; convert it first"
        )
    return image


def shorten(name: str) -> str:
    """Return a class name truncated to the width of a line."""
    return name if len(name) <= 24 else name[:23] + "…"


def panel_side(num_classes: int) -> float:
    """Return the side of a class matrix in inches."""
    return float(np.clip(0.2 * num_classes + 1.5, 3.5, 12))


def color_map(name: str) -> Colormap:
    """Return a color map that draws missing values in light gray."""
    return matplotlib.colormaps[name].with_extremes(bad="#EBEBEB")


def name_classes(
    axis: Axis, classes: Sequence[str], indices: Sequence[int] | np.ndarray | None = None
) -> None:
    """Label the ticks of an axis with class names, or with class indices if there are too many."""
    if len(classes) <= MAX_NAMED_CLASSES:
        names = drawable_names([str(name) for name in classes], indices)
        ticks, texts = range(len(classes)), [shorten(name) for name in names]
        axis.set_label_text("class")
    else:
        ticks = range(0, len(classes), -(-len(classes) // MAX_NAMED_CLASSES))
        texts = [str(i if indices is None else indices[i]) for i in ticks]
        axis.set_label_text("class index")
    axis.set_ticks(
        list(ticks),
        texts,
        rotation=90 if isinstance(axis, XAxis) else 0,
        fontsize=8 if len(classes) <= 40 else 7,
        parse_math=False,
    )


# Okabe-Ito without yellow, which is hardly visible on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
LINES: tuple[Any, ...] = (
    *("-", (0, (5, 2)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5))),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (9, 1.5)),
    (0, (1, 3)),
    (0, (9, 2, 2, 2)),
)
TITLES = {
    "pla": "PLA",
    "mla": "MLA",
    "frequent_first": "frequent-first",
    "rare_first": "rare-first",
    "dictionary": "dictionary",
    "random": "random",
    "bce": "BCE",
    "bce_mlp": "BCE, hidden layer",
    "class_queries": "class queries",
    "known_sets": "known sets",
    "asl": "ASL",
    "csra": "CSRA",
    "acf": "ACf",
    "acfs": "ACfs",
    "bce_max": "BCE, max pooling",
    "deepmar": "DeepMAR",
    "two_way": "two-way",
    "hill": "Hill",
    "splc": "SPLC",
    "chain": "classifier chain",
    "ctran": "C-Tran",
    "srn": "SRN",
    "ml_decoder": "ML-Decoder",
    "query2label": "Query2Label",
    "hp_net": "HydraPlus-style",
    "wsddn": "WSDDN, windows",
    "rarl": "RARL",
    "order_free": "order-free RNN",
    "multi_order": "multi-order RNN",
    "ocd": "OCD",
    "order_search": "order search",
    "cnn_rnn": "CNN-RNN",
    "ria": "RIA",
    "sr_cnn_rnn": "SR CNN-RNN",
    "pla_no_attention": "PLA, no attention",
    "pla_gru": "PLA, GRU",
    "pla_transformer": "PLA, Transformer",
    "mla_transformer": "MLA, Transformer",
    "pla_cells": "PLA, dropout on cells",
    "pla_prompted": "PLA, prompted",
    "pla_queries": "PLA, class queries",
    "lsep": "LSEP, thresholds",
    "lsep_count": "LSEP, count",
    "soft_iou": "soft IoU",
    "target_distribution": "target distribution",
    "bce_count": "BCE, count",
    "lqp": "LQP",
    "set_pool": "set pooling",
    "set_pool_transformer": "set pooling, Transformer",
}
"""Name of each method as shown; its color and line style follow from its position."""


class Style(NamedTuple):
    """Color and line style of a method."""

    color: str
    line: Any


def title_of(method: str) -> str:
    """Return the name of a method as shown."""
    return TITLES.get(method, method)


def style_of(method: str) -> Style:
    """Return the style of a method; unknown methods are gray and dotted."""
    if method not in TITLES:
        return Style(MISSED, LINES[2])
    line, color = divmod(list(TITLES).index(method), len(COLORS))
    return Style(COLORS[color], LINES[line])


def new_figure(width: float, height: float) -> Figure:
    """Create a white figure with constrained layout; sizes in inches."""
    return Figure(figsize=(width, height), dpi=100, layout="constrained", facecolor="white")


def lowest_panels(grid: np.ndarray, number: int) -> list[Axes]:
    """Hide unused panels, and label the ticks of the lowest panel of each column.

    Args:
        grid: array of axes, shape (rows, columns).
        number: number of panels that hold data.

    Returns:
        The lowest panel of each column that holds data.
    """
    rows, columns = grid.shape
    for axes in grid.flat[number:]:
        axes.set_axis_off()
    lowest = []
    for column in range(columns):
        last = rows - 1 if (rows - 1) * columns + column < number else rows - 2
        grid[last, column].tick_params(labelbottom=True)
        lowest.append(grid[last, column])
    return lowest


def strip_axes(axes: Axes) -> None:
    """Remove the frame above and at the right, and draw a faint grid behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#EEEEEE", linewidth=0.6)
    axes.set_axisbelow(True)
