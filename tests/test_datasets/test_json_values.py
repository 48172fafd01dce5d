import pytest

from mmorderless.datasets.json_values import (
    check_id,
    check_keys,
    check_list,
    check_text,
    id_kind,
    shown,
)

NESTED = []
for _ in range(5000):
    NESTED = [NESTED]
VALUES = [None, True, 3, 10**400, 0.5, float("nan"), float("inf"), {}, {"a": 1}, NESTED]


def test_missing_keys_are_listed():
    check_keys({"a": 1}, ("a",), "an image", "write it")
    with pytest.raises(ValueError, match="an image lacks b, c; write them"):
        check_keys({"a": 1}, ("a", "b", "c"), "an image", "write them")
    with pytest.raises(ValueError, match=r"an image must be a JSON object, got \['a'\]; write it"):
        check_keys(["a"], ("a",), "an image", "write it")


@pytest.mark.parametrize("value", [*VALUES[:-1], "text"])
def test_lists(value):
    assert check_list([value], "images of x.json", "write []") == [value]
    with pytest.raises(
        ValueError, match=r"images of x.json must be a list, got .*; write"
    ) as error:
        check_list(value, "images of x.json", "write []")
    assert len(str(error.value)) < 300


@pytest.mark.parametrize("value", [*VALUES, [], "", " ", "a\0", "a\ud800"])
def test_text(value):
    assert check_text("é.jpg", "img_path of x.json", "write it") == "é.jpg"
    with pytest.raises(ValueError, match=r"img_path of x.json must be non-blank, .* got .*; write"):
        check_text(value, "img_path of x.json", "write it")


def test_file_names_that_are_not_utf8_are_text():
    assert check_text("caf\udce9.jpg", "img_path", "write it") == "caf\udce9.jpg"


@pytest.mark.parametrize("value", [v for v in VALUES if type(v) is not int] + ["3", [3], 3.0])
def test_ids(value):
    for number in (3, -1, 10**400):
        check_id(number, int, "id of a.jpg")
    check_id("3", str, "id of a.jpg")
    with pytest.raises(
        ValueError, match=r"id of a.jpg must be an integer like the other ids, got "
    ):
        check_id(value, int, "id of a.jpg")
    with pytest.raises(
        ValueError, match=r"must be text .* got 3, which is an integer; write all ids as text"
    ):
        check_id(3, str, "id of a.jpg")


def test_text_instead_of_a_number_is_said():
    with pytest.raises(ValueError, match=r"got '3', which is text; write all ids as integers"):
        check_id("3", int, "id of a.jpg")


def test_the_first_id_decides_whether_they_are_text():
    assert id_kind([]) is int
    assert id_kind([1, 2, "3"]) is int
    assert id_kind(["1", 2, 3]) is str
    assert id_kind([None, 2.0]) is int


def test_long_values_are_shortened():
    assert shown([1, "a", None]) == "[1, 'a', None]"
    for value in (NESTED, ["x" * 10_000] * 1000, 10**4000, {i: "x" * 500 for i in range(50)}):
        assert len(shown(value)) < 5000
