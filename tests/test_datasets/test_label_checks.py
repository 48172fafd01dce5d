import numpy as np

from mmorderless.datasets.label_checks import (
    classes_without_image,
    labelless_problem,
    steps_problem,
)


def test_a_training_set_without_any_label_is_a_problem():
    assert labelless_problem(np.array([0, 2, 0]), "train.json") is None
    problem = labelless_problem(np.zeros(3, int), "train.json")
    assert problem.startswith("no image of train.json has one of the 3 labels")
    assert "spelled" in problem


def test_classes_that_no_image_has():
    assert classes_without_image(np.array([0, 2, 0]), ["ant", "bee", "cat"]) == ["ant", "cat"]
    assert classes_without_image(np.array([1, 2]), ["ant", "bee"]) == []


def test_the_largest_label_set_and_end_must_fit_into_the_steps():
    label_sets, images = [[0], [2, 0, 1], []], ["a.jpg", "b.jpg", "c.jpg"]
    assert steps_problem(label_sets, images, max_steps=4) is None
    problem = steps_problem(label_sets, images, max_steps=3)
    assert problem.startswith("b.jpg has 3 labels")
    assert problem.endswith("set model.head.max_steps to 4 or more")
