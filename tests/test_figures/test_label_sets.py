import numpy as np
import pytest

from mmorderless.figures import label_sets as figures
from mmorderless.figures.style import figure_to_rgb
from mmorderless.metrics import order_statistics as statistics


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


def tick_names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(256, size=(48, 48, 3), dtype=np.uint8)


def test_annotated_image_marks_right_wrong_and_missed_labels(picture):
    figure = figures.annotated_image(
        picture, ["cat", "cup"], np.array([0.9, 0.25]), ["cat", "dog", "fork"]
    )
    written = texts(figure)
    assert written[0] == "predicted labels"
    assert written[written.index("cat") - 1] == "✓"
    assert written[written.index("cup") - 1] == "✗"
    assert written[written.index("cup") + 1] == "0.25"
    assert written[written.index("missed labels") :] == ["missed labels", "–", "dog", "–", "fork"]


def test_annotated_image_lists_labels_in_order_and_beside_the_image(picture):
    names = [f"class {i}" for i in range(20)][::-1]
    figure = figures.annotated_image(picture, names, [0.5] * 20)
    assert [text for text in texts(figure) if text in names] == names
    image_axes, list_axes = figure.axes
    assert image_axes.get_position().x1 <= list_axes.get_position().x0
    assert "✓" not in texts(figure)


def test_annotated_image_shows_what_was_known(picture):
    figure = figures.annotated_image(
        picture, ["cat", "cup"], [1.0, 0.25], num_given=1, excluded_names=["dog", "fork"]
    )
    written = texts(figure)
    assert written[written.index("cat") + 1] == "given"
    assert written[written.index("cup") + 1] == "0.25"
    assert written[-5:] == ["excluded labels", "–", "dog", "–", "fork"]


def test_annotated_image_enlarges_a_small_picture_without_smoothing(picture):
    rgb = figure_to_rgb(figures.annotated_image(picture, [], [], []))
    assert rgb.shape[0] >= 400
    assert rgb.dtype == np.uint8
    # A pixel in the middle of an enlarged one keeps its color.
    size, margin = 400, 15
    centers = margin + (np.arange(48) + 0.5) * size / 48
    rows, columns = np.meshgrid(centers.astype(int), centers.astype(int), indexing="ij")
    assert (rgb[rows, columns] == picture).all()


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (1, 1)])
def test_annotated_image_takes_any_shape(shape):
    figure = figures.annotated_image(np.zeros((*shape, 3), dtype=np.uint8), ["a"], [1.0], [])
    assert max(figure_to_rgb(figure).shape) < 1200


def test_annotated_image_writes_names_as_they_are(picture):
    figure = figures.annotated_image(picture, ["$x$_1", "a name too long for its line"], [0.5] * 2)
    assert "$x$_1" in texts(figure)
    assert "a name too long for its…" in texts(figure)
    figure_to_rgb(figure)  # no formula is parsed


def test_annotated_image_checks_its_arguments(picture):
    with pytest.raises(
        ValueError, match=r"must be uint8 RGB .* got float64 of shape \(48, 48, 3\)"
    ):
        figures.annotated_image(picture / 255, [], [])
    with pytest.raises(ValueError, match=r"got uint8 of shape \(48, 48\)"):
        figures.annotated_image(picture[..., 0], [], [])
    with pytest.raises(ValueError, match="got 2 names but 1 probabilities"):
        figures.annotated_image(picture, ["a", "b"], [0.5])


def test_cooccurrence_figure_shows_the_matrices():
    predicted = np.array([[0, 5], [5, 0]])
    truth = np.array([[0, 8], [8, 0]])
    figure = figures.cooccurrence_figure(predicted, truth, ["cat", "dog"])
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in panels] == [
        "prediction",
        "ground truth",
        "prediction − ground truth",
    ]
    assert (panels[2].images[0].get_array() == predicted - truth).all()
    norm = panels[2].images[0].norm
    assert norm(0) == 0.5  # the difference's colors are centered on zero
    assert tick_names(panels[0].xaxis) == tick_names(panels[0].yaxis) == ["cat", "dog"]
    figure_to_rgb(figure)


def test_label_at_step_figure_has_one_column_per_step():
    counts = statistics.counts_at_step([[0, 1], [0], [1, 0]], 2)
    figure = figures.label_at_step_figure(counts, ["cat", "dog"])
    bars, axes = figure.axes[:2]
    assert [bar.get_height() for bar in bars.patches] == [3, 2]
    assert axes.images[0].get_array()[0].tolist() == pytest.approx([200 / 3, 50])
    assert axes.get_xlabel() == "decoding step"
    assert tick_names(axes.xaxis) == ["1", "2"]
    figure_to_rgb(figure)


def test_pair_order_figure_sorts_a_fixed_order_into_a_triangle():
    order = [2, 0, 3, 1]
    before = statistics.pair_order_counts([order] * 3, 4).toarray()
    figure = figures.pair_order_figure(before, ["a", "b", "c", "d"])
    axes = figure.axes[0]
    assert tick_names(axes.yaxis) == ["c", "a", "d", "b"]
    share = axes.images[0].get_array()
    assert (share[np.triu_indices(4, 1)] == 100).all()
    assert (share[np.tril_indices(4, -1)] == 0).all()
    assert "rigidness 100.0 %" in axes.get_title()
    figure_to_rgb(figure)


def test_figures_without_emitted_labels():
    zeros = np.zeros((3, 3), dtype=int)
    classes = ["a", "b", "c"]
    figure_to_rgb(figures.cooccurrence_figure(zeros, zeros, classes))
    figure_to_rgb(figures.label_at_step_figure(zeros[:0], classes))
    figure = figures.pair_order_figure(zeros, classes)
    assert "no image has two labels" in figure.axes[0].get_title()
    figure_to_rgb(figure)


def test_ticks_of_many_classes_are_indices():
    zeros = np.zeros((300, 300), dtype=int)
    names = [str(i) for i in range(300)]
    figure = figures.pair_order_figure(zeros, [f"class {name}" for name in names])
    ticks = tick_names(figure.axes[0].xaxis)
    assert set(ticks) <= set(names)
    assert len(ticks) <= 100
