"""CSV files of known labels."""

import pytest

from mmorderless.datasets.known_labels import read_known_csv


def read(folder, text):
    (folder / "known.csv").write_text(text)
    return [(r.image, r.labels, r.ignored) for r in read_known_csv(str(folder / "known.csv"))]


def test_given_labels_keep_their_order(tmp_path):
    text = 'image,given,excluded\na.jpg,sea; a dog,cat\n"b, c.jpg",,cat;sea\n\nd.jpg,sea,\n'
    assert read(tmp_path, text) == [
        ("a.jpg", ["sea", "a dog"], ["cat"]),
        ("b, c.jpg", [], ["cat", "sea"]),
        ("d.jpg", ["sea"], []),
    ]


@pytest.mark.parametrize(
    "header, expected", [("given", (["sea"], [])), ("excluded", ([], ["sea"]))]
)
def test_one_column_is_enough(tmp_path, header, expected):
    assert read(tmp_path, f"image\t{header}\na.jpg\tsea\n") == [("a.jpg", *expected)]


@pytest.mark.parametrize(
    "text, message",
    [
        ("image,dog\na.jpg,1\n", r"columns \['image', 'dog'\]; the header is image,given or"),
        ("image,given,given\n", r"columns \['given'\] occur twice in the header"),
        ("image,given\na.jpg,sea,cat\n", "line 2: the header has 2 cells, this row 3"),
        ("image,given\n,sea\n", "line 2: empty image path or label name"),
    ],
)
def test_faults_are_one_line_errors(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)
