import numpy as np
import pytest

from mmorderless.figures.method_curves import (
    OperatingCurve,
    Panel,
    loss_curves_figure,
    operating_curve_figure,
    panels_figure,
)
from mmorderless.figures.style import TITLES, figure_to_rgb, style_of, title_of

METHODS = list(TITLES)
CURVE = OperatingCurve(
    values=np.array([-1.0, 0.0, 1.0]),
    recall=np.array([40.0, 60.0, 80.0]),
    precision=np.array([90.0, 80.0, 60.0]),
    default=0.0,
    tuned=0.5,
)


def legend_names(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def panels_of(figure):
    return [axes for axes in figure.axes if axes.get_title()]


def test_loss_curves_figure_draws_mean_and_range_of_the_seeds():
    seeds = [[(1, 4.0), (2, 2.0), (3, 1.0)], [(1, 2.0), (2, 1.0)]]
    figure = loss_curves_figure({"pla": seeds, "mla": [[(1, 3.0), (2, 3.0)]]})
    axes = figure.axes[0]
    pla = axes.lines[0]
    assert pla.get_xdata().tolist() == [1, 2]  # the epochs of both seeds
    assert pla.get_ydata().tolist() == [3.0, 1.5]
    band = axes.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in band} >= {(1, 4.0), (1, 2.0), (2, 2.0), (2, 1.0)}
    assert len(axes.collections) == 1  # a single seed has no range
    # In the order of their last values.
    assert legend_names(axes) == ["MLA", "PLA"]
    assert axes.get_legend().get_lines()[1].get_color() == pla.get_color() == style_of("pla").color
    assert axes.get_xlabel() == "epoch"
    figure_to_rgb(figure)


@pytest.mark.parametrize("log_scale", [False, True])
def test_names_of_many_loss_curves_do_not_overlap(log_scale):
    curves = {method: [[(0, 3.0), (9, 0.5 + 0.001 * i)]] for i, method in enumerate(METHODS)}
    figure = loss_curves_figure(curves, log_scale)
    height = figure_to_rgb(figure).shape[0]
    axes = figure.axes[0]
    boxes = [text.get_window_extent() for text in axes.get_legend().get_texts()]
    assert len(boxes) == len(METHODS)
    tops, bottoms = [box.y1 for box in boxes], [box.y0 for box in boxes]
    assert all(bottom >= top for bottom, top in zip(bottoms, tops[1:]))
    assert min(bottoms) >= 0
    assert max(tops) <= height


def test_operating_curve_figure_marks_default_and_tuned_points():
    assert CURVE.at(0.5) == (70.0, 70.0)
    figure = operating_curve_figure({"pla": CURVE, "bce": CURVE._replace(tuned=None)})
    pla, bce = panels_of(figure)
    [line] = [line for line in pla.lines if line.get_gid() == "pla"]
    assert line.get_xdata().tolist() == [40.0, 60.0, 80.0]
    assert line.get_ydata().tolist() == [90.0, 80.0, 60.0]
    marks = {line.get_marker(): line.get_xydata()[0].tolist() for line in pla.lines}
    assert marks["o"] == [60.0, 80.0]
    assert marks["D"] == [70.0, 70.0]
    assert pla.get_title() == f"PLA\nC-F1 {2 * 60 * 80 / 140:.1f} → 70.0"
    assert "→" not in bce.get_title()
    [lsep] = panels_of(operating_curve_figure({"lsep": CURVE._replace(default=None)}))
    assert [line.get_marker() for line in lsep.lines if line.get_marker() in "oD"] == ["D"]
    assert lsep.get_title().endswith("C-F1 70.0")
    for axes in (pla, bce):
        assert axes.get_xlim()[0] < 60 < axes.get_xlim()[1]
        assert axes.get_ylim()[0] < 70 < axes.get_ylim()[1]
    figure_to_rgb(figure)


def test_lines_of_equal_f1_have_that_f1():
    figure = operating_curve_figure({"pla": CURVE})
    dotted = [line for line in panels_of(figure)[0].lines if line.get_linestyle() == ":"]
    assert dotted
    for line in dotted:
        recall, precision = line.get_data()
        f1 = 2 * recall * precision / (recall + precision)
        assert f1 == pytest.approx(np.full(len(f1), round(f1[0] / 5) * 5))


def test_panels_share_a_legend_in_the_order_of_the_first():
    first = {"pla": [(0, 70.0, 1.0), (1, 60.0, 2.0)], "bce": [(0, 65.0, None), (1, 64.0, None)]}
    panels = [Panel("F1", "given", first), Panel("mAP", "share", {"pla": [(25, 50.0, None)]})]
    figure = panels_figure(panels)
    left, right = panels_of(figure)
    assert [axes.get_title() for axes in (left, right)] == ["F1 (%)", "mAP (%)"]
    assert [axes.get_xlabel() for axes in (left, right)] == ["given", "share"]
    pla = left.lines[0]
    assert pla.get_xydata().tolist() == [[0, 70], [1, 60]]
    assert pla.get_color() == right.lines[0].get_color() == style_of("pla").color
    band = left.collections[0].get_paths()[0].vertices
    assert {tuple(point) for point in band} >= {(0, 69.0), (0, 71.0), (1, 58.0), (1, 62.0)}
    assert len(left.collections) == 1  # one seed has no deviation
    [legend] = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["BCE", "PLA"]


def test_the_best_of_many_methods_are_named_and_end_the_axes():
    curves = {method: [(0, 50.0 + i, None), (1, i, None)] for i, method in enumerate(METHODS)}
    figure = panels_figure([Panel("F1", "given", curves)] * 5)
    best = [title_of(method) for method in METHODS[:-13:-1]]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == [*best, "other methods"]
    for axes in panels_of(figure):
        assert len(axes.lines) == len(METHODS)
        assert sum(line.get_color() == "#BBBBBB" for line in axes.lines) == len(METHODS) - 12
        low, high = axes.get_ylim()
        assert low == len(METHODS) - 13  # a point below the twelfth
        assert high > 50 + len(METHODS) - 1
    height, width, _ = figure_to_rgb(figure).shape
    boxes = [text.get_window_extent() for text in figure.legends[0].get_texts()]
    assert min(box.y0 for box in boxes) >= 0
    assert max(box.y1 for box in boxes) <= height
    assert max(box.x1 for box in boxes) <= width
