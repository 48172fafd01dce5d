import numpy as np
import pytest

from mmorderless.datasets.annotations import (
    check_classes,
    check_label_set,
    choose_classes,
    labels_of_rows,
)
from mmorderless.datasets.faults import collect_faults, report_errors, report_fault
from mmorderless.datasets.json_values import check_keys


def test_labels_are_sorted():
    assert check_label_set([3, 0, 2], 4, "a.jpg", "a.json") == [0, 2, 3]
    assert check_label_set([], 4, "a.jpg", "a.json") == []


@pytest.mark.parametrize(
    "labels, rule",
    [
        ([0, 4], r"must be in 0 … 3 \(4 classes\), got \[0, 4\]"),
        ([-1], "must be in 0 … 3"),
        ([1, 2, 1], r"must be distinct, got \[1, 2, 1\]"),
        (2, "must be a list of class indices, got 2"),
        ([True], "must be a list of class indices"),
        ([1.0], "must be a list of class indices"),
        (["dog"], "must be a list of class indices"),
        (None, "must be a list of class indices"),
    ],
)
def test_wrong_labels(labels, rule):
    with pytest.raises(ValueError, match=rule) as error:
        check_label_set(labels, 4, "a.jpg", "a.json")
    message = str(error.value)
    assert "a.jpg" in message
    assert "a.json" in message
    assert "\n" not in message


def test_faults_are_collected_only_inside_collect_faults():
    with collect_faults() as faults:
        assert check_label_set([4, 1, 1, -1], 4, "a.jpg", "a.json") == [1]
        assert check_label_set("dog", 4, "b.jpg", "a.json") == []
        with report_errors():
            check_keys({"a": 1}, ["a", "b"], "an image", "write it")
            raise AssertionError
        with report_errors():
            check_keys({"a": 1}, ["a"], "an image", "write it")
        with collect_faults() as inner:
            report_fault("inner")
        assert inner == ["inner"]
    assert [fault.split(" (")[0] for fault in faults] == [
        "labels of a.jpg must be in 0 … 3",
        "labels of a.jpg must be distinct, got [4, 1, 1, -1] in a.json; list each once",
        "labels of b.jpg must be a list of class indices, got 'dog' in a.json; "
        "write [] for none and [3] for one",
        "an image lacks b; write it",
    ]
    with pytest.raises(ValueError, match="outer"):
        report_fault("outer")


def test_an_error_ends_the_collecting():
    with pytest.raises(KeyError), collect_faults():
        raise KeyError("x")
    with pytest.raises(ValueError, match="outer"):
        report_fault("outer")


def test_classes_of_a_published_dataset_are_chosen_by_name():
    assert choose_classes(["a", "b", "c"], None, "x") == ("a", "b", "c")
    assert choose_classes(["a", "b", "c"], ["c", "a"], "x") == ("c", "a")
    with pytest.raises(ValueError, match=r"names \['d'\], which x does not have; choose from"):
        choose_classes(["a", "b"], ["d"], "x")


def test_only_chosen_names_are_compared():
    assert choose_classes(["a", "a", "b"], ["b"], "x") == ("b",)
    for chosen in (None, ["a", "b"]):
        with pytest.raises(ValueError, match=r"\['a'\] occur twice in x"):
            choose_classes(["a", "a", "b"], chosen, "x")


def test_labels_of_rows():
    for shape in [(0, 3), (1, 1), (7, 4)]:
        matrix = np.random.default_rng(0).random(shape) < 0.3
        assert labels_of_rows(matrix) == [np.flatnonzero(row).tolist() for row in matrix]


def test_classes_become_a_tuple():
    assert check_classes(["b", "a"], "x") == ("b", "a")


def test_class_names_in_any_script_are_accepted():
    names = ("犬", "می\u200cخواهم", "café au lait", "👩\u200d🚒", "a\u00a0b")
    assert check_classes(names, "x") == names


@pytest.mark.parametrize(
    "classes, rule",
    [
        (None, "no class names"),
        ([], "no class names"),
        ("names.txt", "no class names"),
        (["a", " "], "non-blank text of one line, got ' '"),
        (["a", 3], "non-blank text of one line, got 3"),
        (["a", "b", "a"], r"\['a'\] occur twice"),
        ({"a": 0}, r"no class names in x \(got {'a': 0}\)"),
        (3, r"no class names in x \(got 3\)"),
        (["a", "b\ud800"], r"text of one line, got 'b\\ud800' in x"),
        (["a", "b\nc"], r"text of one line, got 'b\\nc' in x"),
        (["a\0"], r"text of one line, got 'a\\x00' in x"),
        (["a\u2028b"], r"text of one line"),
    ],
)
def test_wrong_class_names(classes, rule):
    with pytest.raises(ValueError, match=rule):
        check_classes(classes, "x")
