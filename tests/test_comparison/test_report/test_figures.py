import numpy as np

from mmorderless.comparison.report.figures import all_figures, read_operating_curve
from mmorderless.figures.style import figure_to_rgb

CLASSES = ["ant", "bee", "cat", "dog"]


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
    return {
        "method": method,
        "seed": seed,
        "sequence": sequence,
        "operating_parameter": parameter,
        "operating_default": 0.0 if sequence else 0.5,
        "default": {"CF1": 60.0},
        "tuned": {"CF1": {"value": 0.5, "metrics": {}}},
        "operating_curve": [{"value": v, "CP": p, "CR": r} for v, p, r in points],
        "loss_curve": [[1.0, 2.0 + seed], [2.0, 1.0 + seed]],
    }


def test_a_run_without_operating_points_has_no_curve():
    result = result_of("pla")
    assert read_operating_curve({**result, "operating_curve": []}) is None
    curve = read_operating_curve(result)
    assert curve.values.tolist() == [-1.0, 0.0, 1.0]
    assert curve.recall.tolist() == [40.0, 60.0, 80.0]
    assert curve.precision.tolist() == [90.0, 80.0, 60.0]
    assert (curve.default, curve.tuned) == (0.0, 0.5)
    without = read_operating_curve({**result, "tuned": {}})
    assert without.tuned is None
    assert read_operating_curve(result_of("bce", sequence=False)).default == 0.5


def test_all_figures_draws_the_results():
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
        "label_count",
        "operating_curve",
        "cooccurrence_difference",
        "label_at_step_pla",
    ]
    assert legend_names(drawn["loss_curves"].axes[0]) == ["PLA"]
    assert legend_names(drawn["loss_curves_independent"].axes[0]) == ["BCE"]
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
    assert read_operating_curve({**result, "operating_default": 0.25}).default == 0.25
    assert read_operating_curve({**result, "operating_default": None}).default is None
