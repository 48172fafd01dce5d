import numpy as np

from mmorderless.figures.methods import (
    cooccurrence_difference_figure,
    label_count_figure,
)
from mmorderless.figures.style import TITLES, figure_to_rgb, style_of, title_of

METHODS = list(TITLES)
NAMES = [title_of(method) for method in METHODS]
CLASSES = ["ant", "bee", "cat", "dog"]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def tick_names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def panels_of(figure):
    return [axes for axes in figure.axes if axes.get_title()]


def test_every_method_looks_different():
    styles = {style_of(method) for method in METHODS}
    assert len(styles) == len(METHODS) == len(set(NAMES))
    assert title_of("mine") == "mine"
    assert style_of("mine") not in styles


def test_cooccurrence_difference_figure_has_a_panel_per_method_on_one_scale():
    few, many = np.array([[0, -1], [-1, 0]]), np.array([[0, 8], [8, 0]])
    figure = cooccurrence_difference_figure({"pla": few, "bce": many}, ["cat", "dog"])
    pla, bce = panels_of(figure)
    assert pla.get_title() == "PLA\nmean |Δ| 1.0"
    assert bce.get_title() == "BCE\nmean |Δ| 8.0"
    assert (bce.images[0].get_array() == many).all()
    assert pla.images[0].norm is not None
    assert pla.images[0].get_clim() == bce.images[0].get_clim()
    assert pla.images[0].norm(0) == 0.5
    assert texts(pla) == ["−1", "−1"]  # the diagonal holds no pairs
    assert texts(bce) == ["+8", "+8"]
    assert tick_names(pla.yaxis) == ["cat", "dog"]
    figure_to_rgb(figure)


def test_cooccurrence_difference_figure_shows_groups_one_after_the_other():
    difference = np.arange(16).reshape(4, 4)
    groups = {"pets": [2, 3], "insects": [0]}
    figure = cooccurrence_difference_figure({"pla": difference}, CLASSES, groups)
    [axes] = panels_of(figure)
    chosen = [2, 3, 0]
    assert (axes.images[0].get_array() == difference[np.ix_(chosen, chosen)]).all()
    assert tick_names(axes.yaxis) == ["cat", "dog", "ant"]
    frames = [(patch.get_xy(), patch.get_width()) for patch in axes.patches]
    assert frames == [((-0.5, -0.5), 2), ((1.5, 1.5), 1)]


def test_many_classes_are_named_by_group():
    zeros = np.zeros((40, 40), dtype=int)
    names = [f"class {i}" for i in range(40)]
    groups = {"first": range(30), "second": range(30, 40)}
    figure = cooccurrence_difference_figure({"pla": zeros}, names, groups)
    assert tick_names(panels_of(figure)[0].xaxis) == ["first", "second"]
    figure_to_rgb(figure)
    plain = cooccurrence_difference_figure({"pla": zeros}, names)
    assert tick_names(panels_of(plain)[0].xaxis) == []
    figure_to_rgb(plain)


def test_label_count_figure_gives_shares_and_means():
    figure = label_count_figure(
        {"pla": np.array([0, 0, -1, 1]), "bce": np.array([-7, 2, 0, 0])}, most=2
    )
    axes = figure.axes[0]
    assert axes.images[0].get_array().tolist() == [[0, 25, 50, 25, 0], [25, 0, 50, 0, 25]]
    assert tick_names(axes.xaxis) == ["≤ −2", "−1", "0", "+1", "≥ +2"]
    assert tick_names(axes.yaxis) == ["PLA", "BCE"]
    [right] = axes.child_axes
    assert [name.split() for name in tick_names(right.yaxis)] == [
        ["+0.00", "0.50"],
        ["−1.25", "2.25"],
    ]
    figure_to_rgb(figure)
