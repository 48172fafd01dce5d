import json

import pytest

from mmorderless.datasets.coco import CocoMultiLabel
from mmorderless.datasets.csv_files import read_label_table
from mmorderless.datasets.csv_labels import CsvMultiLabel
from mmorderless.datasets.json_labels import JsonMultiLabel
from mmorderless.datasets.mirflickr import MIRFlickr25k, read_numbers
from mmorderless.datasets.nus_wide import NusWide, read_image_list, read_labels
from mmorderless.datasets.pa100k import PA100K
from mmorderless.datasets.text_files import read_annotation_file, read_lines
from mmorderless.datasets.wider_attribute import WiderAttribute

READERS = [
    read_annotation_file,
    read_lines,
    read_label_table,
    read_numbers,
    read_image_list,
    lambda path: read_labels([path], 2),
]


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize(
    "content, rule",
    [
        (None, "does not exist"),
        ('{"a": 1}'.encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
        ("1\n0\n".encode("utf-16-le"), "is UTF-16 text; save it as UTF-8"),
        ("1\n0\n".encode("utf-16-be"), "is UTF-16 text; save it as UTF-8"),
        ("{caf\u00e9: 0}".encode("latin-1"), r"is not UTF-8 .*b'\\xe9', position 4\); save it"),
    ],
)
def test_files_that_are_not_utf8(tmp_path, read, content, rule):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises((ValueError, OSError), match=rule) as error:
        read(str(path))
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", READERS)
def test_what_the_system_refuses_names_the_file(tmp_path, read, monkeypatch):
    with pytest.raises(OSError, match=r"/nul\x00\.json cannot be read \(embedded null byte\)"):
        read("/nul\0.json")
    with pytest.raises(OSError, match=r"cannot be read .*directory"):
        read(str(tmp_path))

    def fail(*_, **__):
        raise OSError(5, "Input/output error")  # as in the middle of a file: without its name

    monkeypatch.setattr("mmorderless.datasets.text_files.fileio.get", fail)
    with pytest.raises(OSError, match=r"a\.json cannot be read \(Input/output error\)"):
        read("a.json")


def test_a_url_that_cannot_be_read_is_named():
    with pytest.raises(OSError, match=r"http://127.0.0.1:9/a.json cannot be read .*refused"):
        read_annotation_file("http://127.0.0.1:9/a.json")


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": 1}).encode())
    assert read_annotation_file(str(path)) == {"a": 1}
    path.write_bytes(b"\xef\xbb\xbfa\r\n\r\n b \rc")
    assert read_lines(str(path)) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "dataset",
    [
        CocoMultiLabel,
        CsvMultiLabel,
        JsonMultiLabel,
        MIRFlickr25k,
        NusWide,
        PA100K,
        WiderAttribute,
    ],
)
def test_a_file_of_class_names(tmp_path, dataset):
    options = {"data_root": str(tmp_path), "lazy_init": True}
    if dataset is not NusWide:
        options["ann_file"] = "a"
    path = tmp_path / "classes.txt"
    path.write_bytes(b"\xef\xbb\xbfsea\n\nsky \n")
    assert dataset(classes=str(path), **options).metainfo["classes"] == ("sea", "sky")
    path.write_bytes("sea\nsky\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"classes\.txt is UTF-16 text; save it as UTF-8"):
        dataset(classes=str(path), **options)
    with pytest.raises(FileNotFoundError, match=r"none\.txt does not exist; set `classes` to"):
        dataset(classes="none.txt", **options)


@pytest.mark.parametrize(
    "text, rule",
    [
        ('{"images": [', r"is not valid JSON \(Expecting value.*may be incomplete"),
        ("", "is not valid JSON"),
        ("[1]", "must hold a JSON object, got list"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "is nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "is not valid JSON .*5000 digits"),
    ],
)
def test_json_that_cannot_be_read(tmp_path, text, rule):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=rule) as error:
        read_annotation_file(str(path))
    assert f"annotation file {path} " in str(error.value)
    assert "\n" not in str(error.value)
