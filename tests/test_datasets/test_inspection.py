import json

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict
from mmengine.fileio import register_backend
from mmengine.fileio.backends import BaseStorageBackend, backends, prefix_to_backends

from mmorderless.datasets.inspection import Split, file_problem, file_problems, read_split

STORED = {
    "shelf://a/0.jpg": cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes(),
    "shelf://a/1.jpg": b"",
    "shelf://a/2.jpg": b"text",
}


class Shelf(BaseStorageBackend):
    """A storage that needs an argument."""

    def __init__(self, key):
        assert key == "secret"

    def get(self, path):
        if path not in STORED:
            raise OSError("no such object")
        return STORED[path]

    get_text = get


@pytest.fixture
def backend_args():
    register_backend("shelf", Shelf, prefixes="shelf")
    yield {"backend": "shelf", "key": "secret"}
    del backends["shelf"], prefix_to_backends["shelf"]


def test_images_in_remote_storage(tmp_path, backend_args):
    records = [{"img_path": f"shelf://a/{i}.jpg", "gt_label": [0]} for i in range(4)]
    content = {"metainfo": {"classes": ["ant"]}, "data_list": records}
    (tmp_path / "val.json").write_text(json.dumps(content))
    config = ConfigDict(
        type="JsonMultiLabel",
        data_root=str(tmp_path),
        ann_file="val.json",
        pipeline=[dict(type="LoadImage", backend_args=backend_args)],
    )
    split = read_split("val", config)
    assert split.problems == {}
    images = dict.fromkeys(split.images, split.backend_args)
    opened = list(file_problems(images, False, 1))
    assert opened == [
        None,
        "image shelf://a/1.jpg is empty",
        None,
        "image shelf://a/3.jpg cannot be opened: no such object",
    ]
    decoded = list(file_problems(images, True, 1))
    assert decoded[0] is None
    assert decoded[1].startswith("image shelf://a/1.jpg (0 bytes) is truncated or not an image")
    assert decoded[2].startswith("image shelf://a/2.jpg (4 bytes) is truncated or not an image")
    assert "image 'shelf://a/3.jpg' cannot be read: no such object" in decoded[3]


@pytest.mark.parametrize(
    "path, rule",
    [
        ("foo://a.jpg", "mmengine knows no storage 'foo'"),
        ("nul\0.jpg", "embedded null byte"),
        ("http://127.0.0.1:9/a b.jpg", "URL can't contain control characters"),
        ("http://127.0.0.1:9/a.jpg", "refused"),
    ],
)
def test_images_that_cannot_be_opened(path, rule):
    problem = file_problem(path)
    assert problem.startswith(f"image {path} cannot be opened: ")
    assert rule in problem


def test_problems_are_lines_that_can_be_printed():
    split = Split("val", "X")
    split.add("labels", ["labels of a\nb", "labels of caf\udce9", "labels of a\nb"])
    assert split.problems == {"labels": ["labels of a b", r"labels of caf\udce9"]}


def test_dropped_images_of_a_concatenation_are_added_up(tmp_path):
    (tmp_path / "a.csv").write_text("image,labels\n0.jpg,ant\n1.jpg,\n")
    (tmp_path / "b.csv").write_text("image,labels\n2.jpg,ant\n3.jpg,\n4.jpg,\n")
    datasets = [
        dict(type="mmpretrain.CsvMultiLabel", ann_file=str(tmp_path / name), keep_unlabeled=False)
        for name in ("a.csv", "b.csv")
    ]
    split = read_split("train", ConfigDict(type="ConcatDataset", datasets=datasets))
    assert (split.problems, len(split.images)) == ({}, 2)
    assert split.dropped == {"without a label": 3}


def test_an_image_under_two_spellings_of_its_path_is_repeated(tmp_path):
    file = tmp_path / "a.csv"
    file.write_text(
        "image,labels\n0.jpg,ant\n./0.jpg,bee\nhttp://a//0.jpg,ant\nhttp://a/0.jpg,ant\n"
    )
    split = read_split("train", ConfigDict(type="CsvMultiLabel", ann_file=str(file)))
    assert split.problems == {"repeated image": [f"{tmp_path / '0.jpg'} occurs more than once"]}
