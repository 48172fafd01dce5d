import numpy as np
import pytest

from mmorderless.labels.fixed_orders import class_ranks, count_labels
from mmorderless.labels.label_lists import ragged_labels

CLASSES = ("zebra", "ant", "cow", "bee")


def sequence(order, counts=None):
    ranks = class_ranks(order, CLASSES, None if counts is None else np.array(counts))
    assert sorted(ranks) == list(range(len(CLASSES)))
    return [CLASSES[c] for c in np.argsort(ranks)]


def test_orders():
    counts = [7, 1, 9, 3]
    assert sequence("frequent_first", counts) == ["cow", "zebra", "bee", "ant"]
    assert sequence("rare_first", counts) == ["ant", "bee", "zebra", "cow"]
    assert sequence("dictionary") == ["ant", "bee", "cow", "zebra"]


def test_ties_go_by_class_name_in_both_directions():
    assert sequence("frequent_first", [5, 5, 9, 5]) == ["cow", "ant", "bee", "zebra"]
    assert sequence("rare_first", [5, 5, 9, 5]) == ["ant", "bee", "zebra", "cow"]


def test_counts_are_images_per_class():
    assert count_labels([[0, 2], [], [2], np.array([2, 3])], 5).tolist() == [1, 0, 3, 1, 0]
    assert count_labels([], 2).tolist() == [0, 0]
    assert count_labels(ragged_labels([[1], [0, 1]]), 3).tolist() == [1, 2, 0]


def test_errors():
    with pytest.raises(ValueError, match=r"class index 2 .* image 1 is not in 0 … 1"):
        count_labels([[0], [2]], 2)
    with pytest.raises(ValueError, match=r"unknown label order 'rarest'; choose one of frequent_f"):
        class_ranks("rarest", CLASSES)
    with pytest.raises(ValueError, match="needs one image count per class: got 2 for 4 classes"):
        class_ranks("rare_first", CLASSES, np.array([1, 2]))
    with pytest.raises(ValueError, match="got none for 4 classes"):
        class_ranks("frequent_first", CLASSES)
    with pytest.raises(ValueError, match="no class ranks"):
        class_ranks("random", CLASSES)
