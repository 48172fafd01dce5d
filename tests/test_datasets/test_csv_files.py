import re

import pytest

from mmorderless.datasets import csv_files
from mmorderless.datasets.csv_files import (
    joined_names,
    read_label_table,
    report_doubtful_names,
    similar_names,
)
from mmorderless.datasets.faults import collect_faults


@pytest.fixture
def write(tmp_path):
    def write(content):
        content = content.encode() if isinstance(content, str) else content
        (tmp_path / "train.csv").write_bytes(content)
        return str(tmp_path / "train.csv")

    return write


@pytest.fixture
def log(monkeypatch):
    lines = []
    monkeypatch.setattr(csv_files, "print_log", lambda line, logger: lines.append(line))
    return lines


def rows_of(path):
    return [(row.image, row.labels) for row in read_label_table(path).rows]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_rfc_4180(write, encoding, newline):
    lines = [
        "image,labels",
        '"a, b.jpg","sky, blue; ""high"" sea "',
        "c.jpg,",
        "",
        'Größe.jpg,"two',
        'lines;été"',
    ]
    assert rows_of(write(newline.join([*lines, ""]).encode(encoding))) == [
        ("a, b.jpg", ["sky, blue", '"high" sea']),
        ("c.jpg", []),
        ("Größe.jpg", [f"two{newline}lines", "été"]),
    ]


@pytest.mark.parametrize(
    "content",
    [
        'image;labels\na.jpg;"sea;sky"\nb.jpg;\n',  # Excel
        '\ufeffimage;labels\r\na.jpg;"sea;sky"\r\nb.jpg;\r\n;\r\n',
        "image\tlabels\na.jpg\tsea;sky\nb.jpg\t\n",
        '"image";"labels"\n"a.jpg";"sea;sky"\n"b.jpg";""\n',
        "image,sky,sea\na.jpg,1,1\nb.jpg,0,0\n,,\n",
        "image;sky;sea\na.jpg;1;1\nb.jpg;0;0\n",
        "image,sky,sea\na.jpg,True,1.0\nb.jpg,False,0.0\n",  # pandas
    ],
)
def test_other_forms(write, log, content):
    rows = rows_of(write(content))
    assert [(image, sorted(labels)) for image, labels in rows] == [
        ("a.jpg", ["sea", "sky"]),
        ("b.jpg", []),
    ]
    header = content.partition("\n")[0]
    said = [f"cells are separated by {x!r}" for x in ";\t" if x in header]
    said += ["read as a 0/1 column for each of 2 classes"] if "sky" in header else []
    assert [line.partition("train.csv: ")[2] for line in log] == said


def test_ignored_classes(write):
    table = read_label_table(write("image,ignore,labels\na.jpg,sea;sky,boat\nb.jpg,,sky\n"))
    assert [row.ignored for row in table.rows] == [["sea", "sky"], []]
    assert table.classes == ["boat", "sea", "sky"]
    columns = read_label_table(write("image,sky,ignore,sea\na.jpg,0,sea,0\nb.jpg,1,,1\n"))
    assert [(row.labels, row.ignored) for row in columns.rows] == [
        ([], ["sea"]),
        (["sky", "sea"], []),
    ]
    assert columns.classes == ["sky", "sea"]


@pytest.mark.parametrize(
    "content, rule",
    [
        ("", r"must start with a header, got ''; the header is image,labels"),
        ("a.jpg,sky\n", "must start with a header, got 'a.jpg,sky'"),
        ("image\na.jpg\n", "must start with a header, got 'image'"),
        ("image,labels,size\na.jpg,sky,3\n", r"columns \['image', 'labels', 'size'\]; the header"),
        ("image,ignore\na.jpg,sky\n", r"columns \['image', 'ignore'\]; the header"),
        ("image,labels,labels\na.jpg,sky,sea\n", r"\['labels'\] occur twice in the header"),
        ("image,sky,sky\na.jpg,1,0\n", r"\['sky'\] occur twice in the header"),
        ("image,sky,\na.jpg,1,\n", "column 3 has no name"),
        ("image,sky,sea\na.jpg,1,\n", r"line 2: must be 0 or 1, got {'sea': ''}"),
        (
            "image,label\na.jpg,sky\n",
            r"line 2: must be 0 or 1, got {'label': 'sky'}; the header is",
        ),
        ("image,labels\na.jpg,sky,sea\n", "line 2: the header has 2 cells, this row 3"),
        ("image,sky,sea\na.jpg,1\n", "line 2: the header has 3 cells, this row 2"),
        ("image,labels\na.jpg\n", "line 2: the header has 2 cells, this row 1"),
        ("image,labels\na.jpg,s\0y\n", "has NUL characters"),
        ("image,labels\na.jpg,sky\n".encode("utf-16"), "save it as UTF-8"),
        (f"image,labels\na.jpg,{'x' * 200_000}\n", "field larger than field limit"),
        ("image,labels,ignore\na.jpg,,sky;sky\n", r"labels \['sky'\] of a\.jpg occur twice"),
        ("image,labels\na.jpg,sky;sea;sky\n", r"line 2: labels \['sky'\] of a.jpg occur twice"),
        ("image,labels\na.jpg,sky;;sea\n", "line 2: empty image path or label name"),
        ("image,labels\n,sky\n", "line 2: empty image path or label name"),
        ("image,labels\na.jpg,sky\na.jpg,sea\n", "image a.jpg has more than one row"),
        ('image,labels\na.jpg,"sky"sea\n', "line 2: .*quote cells as in RFC 4180"),
        ("image,labels\na.jpg,été\n".encode("latin-1"), "is not UTF-8.*save it as UTF-8"),
    ],
)
def test_wrong_files(write, content, rule):
    with pytest.raises(ValueError, match=rule) as error:
        read_label_table(write(content))
    assert "train.csv" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content, doubt",
    [
        (
            'image,labels\na.jpg,"people,sky"\nb.jpg,people;sky\n',
            r"names \['people,sky'\]",
        ),
        ('image,labels\na.jpg,"sea, sky"\nb.jpg,"sky, sea"\n', "look like several labels each"),
        (
            "image,labels\na.jpg,people sky\nb.jpg,sky;people\n",
            r"\['people sky'\] look like several",
        ),
        (
            "image;labels\na.jpg;sky|sea\nb.jpg;sea\nc.jpg;sky\n",
            r"\['sky\|sea'\] look like several",
        ),
        ("image,labels\na.jpg,\"['people', 'sky']\"\n", "look like several labels each"),
        ("image,labels\na.jpg,[]\nb.jpg,sky\n", r"\['\[\]'\] look like several labels"),
        ("image,labels\na.jpg,3;10\n", r"class names are the numbers \['10', '3'\]"),
        ("image,labels\na.jpg,3 10\nb.jpg,sky\n", r"\['3 10'\] look like several labels"),
        ("image,label\na.jpg,0\nb.jpg,1\n", "'label' is read as the only class"),
        ("image,labels\na.jpg,Cat\nb.jpg,cat;dog\n", r"\['Cat', 'cat'\] differ only in case"),
        ("image,labels\na.jpg,café\nb.jpg,cafe\u0301\n", "differ only in case"),
        ("image,labels\na.jpg,hot dog\nb.jpg,hot\u200b  dog\n", "differ only in case"),
        ("image,labels\na.jpg,bee\nb.jpg,b", "the last line, 'b.jpg,b', has no line end"),
    ],
)
def test_doubts(write, content, doubt):
    with collect_faults() as faults:
        path = write(content)
        report_doubtful_names(read_label_table(path).classes, path)
    (fault,) = faults
    assert "train.csv: " in fault
    assert re.search(doubt, fault)


def test_names_of_several_words_are_names():
    coco = ["dining table", "table", "hot dog", "dog", "sports ball", "baseball bat"]
    imagenet = ["tench, Tinca tinca", "maillot", "maillot, tank suit", "crane", "bow and arrow"]
    names = [*coco, *imagenet, "Age18-60", "R&B", "red (dark)", "route 66"]
    assert joined_names(names) == similar_names(names) == []
