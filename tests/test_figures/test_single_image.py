from itertools import permutations

import numpy as np
import pytest
import torch

from mmorderless.alignment.assignment import align_min_loss, align_predicted
from mmorderless.figures import single_image as figures
from mmorderless.figures.style import figure_to_rgb

LABELS = ["ball", "bat", "chair", "person"]


def texts(axes):
    return [text.get_text() for text in axes.texts]


def tick_names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def marked(axes, gid):
    """(step, label) of the cells with a mark."""
    cells = set()
    for patch in axes.patches:
        if patch.get_gid() == gid:
            middle = patch.get_extents().transformed(axes.transData.inverted())
            x, y = (middle.x0 + middle.x1) / 2, (middle.y0 + middle.y1) / 2
            cells.add((round(y), round(x)))
    return cells


def example():
    """Step 1 emits a wrong label, step 2 `person`, step 3 `bat`, step 4 `person` again."""
    cost = np.random.default_rng(0).uniform(0.1, 6, (4, 4))
    predicted = ["dog", "person", "bat", "person"]
    positions = torch.tensor([[-1, 3, 1, 3]])
    batch, n = torch.from_numpy(cost[None]), torch.tensor([4])
    mla = align_min_loss(batch, n)[0].numpy()
    pla = align_predicted(batch, n, positions)[0].numpy()
    return cost, mla, pla, predicted


def test_alignment_figure_marks_both_assignments_and_states_their_losses():
    cost, mla, pla, predicted = example()
    figure = figures.alignment_figure(cost, mla, pla, predicted, LABELS)
    axes = figure.axes[0]
    assert marked(axes, "mla") == {(t, int(j)) for t, j in enumerate(mla)}
    assert marked(axes, "pla pinned") == {(1, 3), (2, 1)}  # not person's second time
    assert marked(axes, "pla") == {(0, int(pla[0])), (3, int(pla[3]))}
    best = min(sum(cost[t, j] for t, j in enumerate(order)) for order in permutations(range(4)))
    around = cost[1, 3] + cost[2, 1] + min(cost[0, 0] + cost[3, 2], cost[0, 2] + cost[3, 0])
    assert best < around
    assert axes.get_title() == f"summed loss: PLA {around:.2f} nats, MLA {best:.2f} nats"
    assert texts(axes) == [f"{value:.2f}" for value in cost.ravel()]
    assert (axes.images[0].get_array() == cost).all()
    cost[0, 1] = np.inf  # a label that cannot be emitted there
    assert texts(figures.alignment_figure(cost, mla, pla, predicted, LABELS).axes[0])[1] == "inf"
    assert [legend.get_text() for legend in figure.legends[0].get_texts()] == [
        "PLA, pinned",
        "PLA, assigned",
        "MLA",
    ]
    figure_to_rgb(figure)


def test_alignment_figure_names_steps_and_labels_and_prints_correct_emissions_bold():
    figure = figures.alignment_figure(*example(), LABELS)
    axes = figure.axes[0]
    assert tick_names(axes.xaxis) == LABELS
    assert [name.split() for name in tick_names(axes.yaxis)] == [
        ["dog", "1"],
        ["person", "2"],
        ["bat", "3"],
        ["person", "4"],
    ]
    weights = [label.get_fontweight() for label in axes.get_yticklabels()]
    assert weights == ["normal", "bold", "bold", "bold"]


def test_alignment_figure_of_one_label_and_of_many():
    figure = figures.alignment_figure(np.zeros((1, 1)), [0], [0], ["END"], ["$x$"])
    assert figure.axes[0].get_title() == "summed loss: PLA 0.00 nats, MLA 0.00 nats"
    figure_to_rgb(figure)
    n = 12
    order = np.arange(n)
    names = [f"a rather long name {i}" for i in order]
    rgb = figure_to_rgb(figures.alignment_figure(np.ones((n, n)), order, order, names, names))
    assert max(rgb.shape) < 1600


def test_alignment_figure_checks_its_arguments():
    cost = np.ones((2, 2))
    with pytest.raises(ValueError, match="no label to align"):
        figures.alignment_figure(np.ones((0, 0)), [], [], [], [])
    with pytest.raises(ValueError, match=r"2 labels need .* got \(2, 2\), \(2,\), \(3,\) and 2"):
        figures.alignment_figure(cost, [0, 1], [0, 1, 2], ["a", "b"], ["a", "b"])


@pytest.fixture
def picture():
    return np.random.default_rng(0).integers(256, size=(30, 40, 3), dtype=np.uint8)


def test_attention_figure_draws_each_map_over_the_whole_photo_on_one_scale(picture):
    attention = np.random.default_rng(1).dirichlet(np.ones(6), 3).reshape(3, 2, 3)
    figure = figures.attention_figure(
        picture, attention, ["cat", "cup", "cat"], [0.9, 0.25, 0.5], ["cat", "dog"]
    )
    photo, *panels = [axes for axes in figure.axes if axes.images][:4]
    assert (photo.images[0].get_array() == picture).all()
    for axes, weights in zip(panels, attention, strict=True):
        heat = axes.images[1]
        assert (heat.get_array() == weights).all()
        assert heat.get_extent() == photo.images[0].get_extent()
        assert heat.get_interpolation() == "bicubic"
        assert heat.get_clim() == (0, attention.max())
    assert [axes.get_title() for axes in panels] == [
        "cat\n1: 0.90 ✓",
        "cup\n2: 0.25 ✗ wrong",
        "cat\n3: 0.50 ↻ repeated",
    ]
    assert figure.axes[-1].get_ylabel() == f"attention (uniform: {1 / 6:.3f})"
    figure_to_rgb(figure)


def test_attention_figure_marks_only_repeats_without_the_truth(picture):
    attention = np.full((2, 2, 2), 0.25)
    figure = figures.attention_figure(picture, attention, ["a", "a"], [1, 1])
    assert [axes.get_title() for axes in figure.axes[1:3]] == [
        "a\n1: 1.00",
        "a\n2: 1.00 ↻ repeated",
    ]


def test_attention_figure_of_no_label_and_of_many(picture):
    figure = figures.attention_figure(picture, np.empty((0, 2, 2)), [], [], ["dog"])
    assert [axes.get_title() for axes in figure.axes] == ["image: no label emitted"]
    figure_to_rgb(figure)
    many = figures.attention_figure(
        picture, np.full((11, 2, 2), 0.25), list("abcdefghijk"), [0] * 11
    )
    titles = [axes.get_title() for axes in many.axes if axes.images]
    assert [title[:1] for title in titles[1:12]] == list("abcdefghijk")
    figure_to_rgb(many)


def test_attention_figure_checks_its_arguments(picture):
    maps = np.full((1, 2, 2), 0.25)
    with pytest.raises(ValueError, match="must be uint8 RGB"):
        figures.attention_figure(picture / 255, maps, ["a"], [1])
    with pytest.raises(ValueError, match=r"attention of shape \(1, 4\), 1 names"):
        figures.attention_figure(picture, maps.reshape(1, 4), ["a"], [1])
    with pytest.raises(ValueError, match="2 names and 1 probabilities"):
        figures.attention_figure(picture, maps, ["a", "b"], [1])


def column(figure, header):
    """Texts of a strategy's column below its header, from top to bottom, and which are bold."""
    axes = figure.axes[0]
    [head] = [text for text in axes.texts if text.get_text() == header]
    x = head.get_position()[0]
    below = [text for text in axes.texts if text.get_position()[0] == x and text is not head]
    below.sort(key=lambda text: text.get_position()[1])
    names = [text.get_text() for text in below]
    return names, [text.get_text() for text in below if text.get_fontweight() == "bold"]


def test_ordering_figure_shows_the_orders_with_their_losses():
    orders = {"dictionary": ["cat", "dog", "elk"], "MLA": ["dog", "elk", "cat"]}
    costs = {"dictionary": [5.0, 4.0, 3.25], "MLA": [0.5, 0.25, 0.125]}
    figure = figures.ordering_figure(orders, costs, 1.5, ["dog", "fox", "cat", "dog"])
    names, bold = column(figure, "dictionary")
    assert names == ["loss 12.25 nats", "cat", "dog", "elk", "END"]
    assert bold == []
    names, bold = column(figure, "MLA")
    assert names == ["loss 0.88 nats", "dog", "elk", "cat", "END"]
    assert bold == ["dog", "cat"]  # where the model emits them
    names, _ = column(figure, "the model emits")
    assert names[:5] == ["dog", "fox", "cat", "dog", "END"]
    marks = [text for text in texts(figure.axes[0]) if text in "✓✗↻"]
    assert marks == ["✓", "✗", "✓", "↻"]
    assert "END adds 1.50 nats to each" in texts(figure.axes[0])[-1]
    figure_to_rgb(figure)


def test_ordering_figure_without_an_emitted_label():
    figure = figures.ordering_figure({"PLA": ["dog"]}, {"PLA": [2.0]}, 0.0, [])
    assert column(figure, "the model emits")[0][0] == "END"
    figure_to_rgb(figure)
