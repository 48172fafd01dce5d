import numpy as np
import pytest

from mmorderless.comparison.report.figures import all_figures, operating_curve
from mmorderless.figures.method_curves import loss_curves_figure, operating_curve_figure
from mmorderless.figures.methods import (
    cooccurrence_difference_figure,
    label_count_figure,
    rigidness_figure,
    score_comparison_figure,
)
from mmorderless.figures.style import FAMILIES, figure_to_rgb, style_of, title_of

METHODS = [method for family in FAMILIES for method in family]
NAMES = [title_of(method) for method in METHODS]
CLASSES = ["ant", "bee", "cat", "dog"]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def legend_names(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def tick_names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def panels_of(figure):
    return [axes for axes in figure.axes if axes.get_title()]


def joined(lists):
    length = np.array([len(labels) for labels in lists])
    return np.array([label for labels in lists for label in labels], dtype=np.int32), length


def predictions_of(sequences, truth, is_sequence=True):
    arrays = {"classes": np.array(CLASSES), "img_path": np.array(["x"] * len(truth))}
    lists = {"predicted": [list(dict.fromkeys(s)) for s in sequences], "truth": truth}
    if is_sequence:
        lists["sequence"] = sequences
    for name, labels in lists.items():
        arrays[name], arrays[f"{name}_length"] = joined(labels)
    return arrays


def result_of(method, seed=0, sequence=True):
    parameter = "end_bias" if sequence else "threshold"
    points = [(-1.0, 90.0, 40.0), (0.0, 80.0, 60.0), (1.0, 60.0, 80.0)]
    default = {"CF1": 60.0, "rigidness": 80.0 + seed, "rigidness_random": 55.0}
    result = {
        "method": method,
        "seed": seed,
        "sequence": sequence,
        "operating_parameter": parameter,
        "operating_default": 0.0 if sequence else 0.5,
        "default": default if sequence else {"CF1": 60.0},
        "tuned": {"CF1": {"value": 0.5, "metrics": {}}},
        "operating_curve": [{"value": v, "CP": p, "CR": r} for v, p, r in points],
        "loss_curve": [[1.0, 2.0 + seed], [2.0, 1.0 + seed]],
    }
    return result | ({"mAP_by_score": {"max": 70.0, "first": 65.0 + seed}} if sequence else {})


def test_every_method_looks_different():
    styles = {style_of(method) for method in METHODS}
    assert len(styles) == len(METHODS) == len(set(NAMES))
    assert title_of("mine") == "mine"
    assert style_of("mine") not in styles


def test_loss_curves_figure_draws_mean_and_range_of_the_seeds():
    seeds = [[(1, 4.0), (2, 2.0), (3, 1.0)], [(1, 2.0), (2, 1.0)]]
    figure = loss_curves_figure({"pla": seeds, "mla": [[(1, 3.0), (2, 3.0)]]})
    axes = figure.axes[0]
    pla = axes.lines[0]
    assert pla.get_xdata().tolist() == [1, 2]  # where both seeds have been
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
def test_names_of_twenty_loss_curves_do_not_overlap(log_scale):
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


def test_cooccurrence_difference_figure_has_a_panel_a_method_on_one_scale():
    few, many = np.array([[0, -1], [-1, 0]]), np.array([[0, 8], [8, 0]])
    figure = cooccurrence_difference_figure({"pla": few, "bce": many}, ["cat", "dog"])
    pla, bce = panels_of(figure)
    assert pla.get_title() == "PLA\nmean |Δ| 1.0"
    assert bce.get_title() == "BCE\nmean |Δ| 8.0"
    assert (bce.images[0].get_array() == many).all()
    assert pla.images[0].norm is not None
    assert pla.images[0].get_clim() == bce.images[0].get_clim()
    assert pla.images[0].norm(0) == 0.5
    assert texts(pla) == ["−1", "−1"]  # the diagonal is no pair
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


def test_operating_curve_figure_marks_default_and_tuned_points():
    curve = operating_curve(result_of("pla"))
    assert curve.at(0.5) == (70.0, 70.0)
    figure = operating_curve_figure({"pla": curve, "bce": curve._replace(tuned=None)})
    pla, bce = panels_of(figure)
    [line] = [line for line in pla.lines if line.get_gid() == "pla"]
    assert line.get_xdata().tolist() == [40.0, 60.0, 80.0]
    assert line.get_ydata().tolist() == [90.0, 80.0, 60.0]
    marks = {line.get_marker(): line.get_xydata()[0].tolist() for line in pla.lines}
    assert marks["o"] == [60.0, 80.0]
    assert marks["D"] == [70.0, 70.0]
    assert pla.get_title() == f"PLA\nC-F1 {2 * 60 * 80 / 140:.1f} → 70.0"
    assert "→" not in bce.get_title()
    for axes in (pla, bce):
        assert axes.get_xlim()[0] < 60 < axes.get_xlim()[1]
        assert axes.get_ylim()[0] < 70 < axes.get_ylim()[1]
    figure_to_rgb(figure)


def test_lines_of_equal_f1_have_that_f1():
    figure = operating_curve_figure({"pla": operating_curve(result_of("pla"))})
    dotted = [line for line in panels_of(figure)[0].lines if line.get_linestyle() == ":"]
    assert dotted
    for line in dotted:
        recall, precision = line.get_data()
        f1 = 2 * recall * precision / (recall + precision)
        assert f1 == pytest.approx(np.full(len(f1), round(f1[0] / 5) * 5))


def test_a_run_without_operating_points_has_no_curve():
    result = result_of("pla")
    assert operating_curve({**result, "operating_default": None}) is None
    assert operating_curve({**result, "operating_curve": []}) is None
    without = operating_curve({**result, "tuned": {}})
    assert without.tuned is None
    assert operating_curve(result_of("bce", sequence=False)).default == 0.5


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


def test_rigidness_figure_shows_the_random_expectation():
    figure = rigidness_figure({"pla": ([80, 82], [55, 56]), "rare_first": ([100], [54])})
    axes = figure.axes[0]
    random = [line for line in axes.lines if line.get_gid() == "random"]
    assert [line.get_xdata().tolist() for line in random] == [[55, 56], [54]]
    [pla] = [line for line in axes.lines if line.get_gid() == "pla"]
    assert pla.get_xydata().tolist() == [[80, 0], [82, 0]]
    assert texts(axes) == ["81.0 (55.5)", "100.0 (54.0)"]
    assert tick_names(axes.yaxis) == ["PLA", "rare-first"]
    figure_to_rgb(figure)


def test_score_comparison_figure_has_a_point_a_kind():
    scores = {"pla": {"max": [70, 72], "first": [60]}, "mla": {"max": [69], "mine": [50]}}
    figure = score_comparison_figure(scores)
    axes = figure.axes[0]
    points = [(line.get_gid(), *line.get_xydata()[0]) for line in axes.lines if line.get_gid()]
    wanted = [("max", 71, 0), ("first", 60, 0), ("max", 69, 1), ("mine", 50, 1)]
    assert sorted(p for p in points if p[0] in ("max", "first", "mine")) == sorted(wanted)
    legend = [text.get_text() for text in axes.get_legend().get_texts()]
    assert legend == ["max over steps", "first emission", "mine"]
    figure_to_rgb(figure)


def test_all_figures_draws_what_the_results_hold():
    results = {
        "pla": [result_of("pla", seed) for seed in range(2)],
        "bce": [result_of("bce", sequence=False)],
    }
    truth = [[0, 1], [1], [], [1, 2, 3]] * 5
    predictions = {
        "pla": predictions_of([[1, 0], [1, 1], [2], [3, 1]] * 5, truth),
        "bce": predictions_of([[0, 1], [0, 1], [], [1]] * 5, truth, is_sequence=False),
    }
    drawn = all_figures(results, predictions)
    assert list(drawn) == [
        "loss_curves",
        "loss_curves_independent",
        "rigidness",
        "label_count",
        "operating_curve",
        "score_comparison",
        "cooccurrence_difference",
        "label_at_step_pla",
    ]
    assert legend_names(drawn["loss_curves"].axes[0]) == ["PLA"]
    assert legend_names(drawn["loss_curves_independent"].axes[0]) == ["BCE"]
    assert texts(drawn["rigidness"].axes[0]) == ["80.5 (55.0)"]
    assert drawn["label_count"].axes[0].images[0].get_array()[:, 3:6].tolist() == [
        [25, 50, 25],
        [0, 50, 25],
    ]
    steps = drawn["label_at_step_pla"].axes
    assert steps[0].get_title() == "PLA: labels at each step"
    assert [bar.get_height() for bar in steps[0].patches] == [20, 15]
    pla, _ = panels_of(drawn["cooccurrence_difference"])
    # Most frequent first; of the true pairs (1, 2) and (2, 3) are never predicted together.
    assert tick_names(pla.yaxis) == ["bee", "ant", "cat", "dog"]
    difference = pla.images[0].get_array()
    assert difference[0].tolist() == [0, 0, -5, 0]
    assert difference[2].tolist() == [-5, 0, 0, -5]
    for figure in drawn.values():
        figure_to_rgb(figure)


def test_all_figures_of_runs_without_data():
    empty = {
        "method": "pla",
        "sequence": True,
        "operating_parameter": None,
        "default": {"rigidness": None},
    }
    assert all_figures({"pla": [empty]}, {}) == {}


def test_all_figures_shows_the_most_frequent_of_many_classes():
    classes = [f"class {i}" for i in range(150)]
    truth = [list(range(60, 150))] * 2 + [[0, 149]]
    arrays = predictions_of([[149], [149], []], truth) | {"classes": np.array(classes)}
    figure = all_figures({}, {"pla": arrays})["cooccurrence_difference"]
    matrix = panels_of(figure)[0].images[0].get_array()
    assert matrix.shape == (100, 100)
    assert (matrix[0, 1:90] == -2).all()  # class 149, in all three images, comes first
    assert matrix[0, 90] == -1  # class 0


def test_each_group_has_a_figure():
    arrays = predictions_of([[0, 1]], [[2, 3]])
    drawn = all_figures({}, {"pla": arrays}, groups={"pets": [2, 3], "insects": [0, 1]})
    pets = panels_of(drawn["cooccurrence_difference_pets"])[0]
    assert pets.images[0].get_array().tolist() == [[0, -1], [-1, 0]]
    insects = panels_of(drawn["cooccurrence_difference_insects"])[0]
    assert insects.images[0].get_array().tolist() == [[0, 1], [1, 0]]
    assert tick_names(panels_of(drawn["cooccurrence_difference"])[0].yaxis) == [
        "cat",
        "dog",
        "ant",
        "bee",
    ]


def test_groups_of_one_class_have_no_figure():
    arrays = predictions_of([[0, 1]], [[2, 3]])
    drawn = all_figures({}, {"pla": arrays}, groups={"pets": [2], "rest": [0, 1, 3]})
    grouped = [name for name in drawn if name.startswith("cooccurrence")]
    assert grouped == ["cooccurrence_difference", "cooccurrence_difference_rest"]


def test_steps_of_few_images_are_not_drawn():
    few, enough = [[0, 1, 2]] * 9, [[0, 1]] * 3
    truth = [[0]] * 12
    drawn = all_figures({}, {"pla": predictions_of(few + enough, truth)})
    bars, steps, *_ = drawn["label_at_step_pla"].axes
    assert [bar.get_height() for bar in bars.patches] == [12, 12]
    assert steps.get_xlabel().endswith("(from step 3 on fewer than 10 images: left out)")
    whole = all_figures({}, {"pla": predictions_of(enough * 4, truth)})
    assert whole["label_at_step_pla"].axes[1].get_xlabel() == "decoding step"
    none = all_figures({}, {"pla": predictions_of(few, truth[:9])})
    assert "label_at_step_pla" not in none


def test_the_default_is_that_of_the_run():
    result = result_of("bce", sequence=False)
    assert operating_curve({**result, "operating_default": 0.25}).default == 0.25
