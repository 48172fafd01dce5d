import json
import re

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmpretrain.models import ClsDataPreprocessor
from mmpretrain.registry import DATASETS

from mmorderless.datasets.faults import collect_faults
from mmorderless.datasets.json_labels import JsonMultiLabel

CLASSES = ["ant", "bee", "cat"]
LABELS = [[2, 0], [], [1], [0, 1, 2]]


def annotation(labels=LABELS, classes=CLASSES):
    return {
        "metainfo": {"classes": classes},
        "data_list": [
            {"img_path": f"images/{i}.png", "gt_label": label} for i, label in enumerate(labels)
        ],
    }


@pytest.fixture
def load(tmp_path):
    def load(content=None, **options):
        content = annotation() if content is None else content
        (tmp_path / "train.json").write_text(json.dumps(content))
        return JsonMultiLabel("train.json", data_root=str(tmp_path), **options)

    return load


def labels_of(dataset):
    return [dataset.get_cat_ids(i) for i in range(len(dataset))]


def test_paths_labels_and_classes(load, tmp_path):
    dataset = load()
    assert labels_of(dataset) == [[0, 2], [], [1], [0, 1, 2]]
    assert dataset.get_data_info(0)["img_path"] == str(tmp_path / "images" / "0.png")
    assert dataset.metainfo["classes"] == ("ant", "bee", "cat")


def test_images_without_label_can_be_dropped(load):
    dataset = load(keep_unlabeled=False)
    assert labels_of(dataset) == [[0, 2], [1], [0, 1, 2]]
    assert dataset.dropped == {"without a label": 1}


@pytest.mark.parametrize("serialize_data", [True, False])
def test_options_of_the_host(load, serialize_data):
    dataset = load(lazy_init=True, indices=[2, 0], serialize_data=serialize_data)
    assert not dataset._fully_initialized
    dataset.full_init()
    assert labels_of(dataset) == [[1], [0, 2]]
    assert labels_of(load(indices=2, serialize_data=serialize_data)) == [[0, 2], []]


def test_other_keys_of_a_record_stay(load):
    content = annotation()
    content["data_list"][0]["height"] = 12
    assert load(content).get_data_info(0)["height"] == 12


def test_classes_can_be_renamed_but_not_recounted(load):
    assert load(classes=["A", "B", "C"]).metainfo["classes"] == ("A", "B", "C")
    with pytest.raises(ValueError, match=r"names 2 classes, .* has 3"):
        load(classes=["A", "B"])
    with pytest.raises(ValueError, match=r"classes of .*train.json must be a list, got 3"):
        load(annotation(classes=3), classes=["A", "B"])
    del (content := annotation())["metainfo"]["classes"]
    assert load(content, classes=CLASSES).metainfo["classes"] == tuple(CLASSES)


def test_class_names_in_another_order_are_a_doubt(load):
    """They rename the labels instead of selecting or sorting the classes."""
    with collect_faults() as faults:
        load(classes=["ant", "bumblebee", "cat"])
    assert faults == []
    with collect_faults() as faults:
        assert labels_of(load(classes=["cat", "bee", "ant"])) == labels_of(load())
    (fault,) = faults
    assert re.match(r"`classes` has \['cat', 'ant'\] at other positions than .*train.json", fault)


@pytest.mark.parametrize(
    "content, rule",
    [
        (annotation([[3]]), r"images/0.png must be in 0 … 2 \(3 classes\), got \[3\]"),
        (annotation([[1, 1]]), r"must be distinct, got \[1, 1\]"),
        (annotation(classes=["a", "b", "a"]), "occur twice"),
        (annotation(classes=[]), "no class names"),
        (annotation([]), "lists 0 images"),
        ({"metainfo": {}, "data_list": []}, "no class names"),
        ({"images": []}, "lacks metainfo, data_list; write"),
        ({"metainfo": {"classes": CLASSES}, "data_list": [{"img_path": "a"}]}, "lacks gt_label"),
        ({"metainfo": {"classes": CLASSES}, "data_list": [{"gt_label": []}]}, "lacks img_path"),
        ([], "must hold a JSON object"),
        ({"metainfo": [], "data_list": []}, "metainfo of .* must be a JSON object, got"),
        ({"metainfo": {"classes": 3}, "data_list": []}, "classes of .* must be a list, got 3"),
        ({"metainfo": {"classes": CLASSES}, "data_list": {}}, "data_list of .* must be a list"),
        (
            {"metainfo": {"classes": CLASSES}, "data_list": [None]},
            "data_list.0. of .* must be a JSON",
        ),
        (annotation([[10**400]]), "images/0.png must be in 0 … 2"),
    ],
)
def test_wrong_files(load, content, rule):
    with pytest.raises(ValueError, match=rule) as error:
        load(content)
    assert "train.json" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", [None, 3, ["a"], "", "a\0b", "a\ud800"])
def test_image_paths_that_are_no_text(load, path):
    content = annotation()
    content["data_list"][1]["img_path"] = path
    with pytest.raises(
        ValueError, match=r"img_path of data_list\[1\] of .*train.json must be non-blank"
    ):
        load(content)
    with collect_faults() as faults:
        assert labels_of(load(content)) == [[0, 2], [1], [0, 1, 2]]
    assert len(faults) == 1


def test_classes_that_are_not_judged(load):
    content = annotation()
    content["data_list"][0]["ignore"] = [1, 0]
    content["data_list"][1]["ignore"] = []
    dataset = load(content)
    assert [dataset.get_data_info(i).get("gt_ignore") for i in range(3)] == [[1], [], None]
    assert "ignore" not in dataset.get_data_info(0)
    for key in ("ignore", "gt_ignore"):
        for ignored in ([3], 1, ["bee"], None):
            wrong = annotation()
            wrong["data_list"][2][key] = ignored
            with pytest.raises(ValueError, match=r"classes of images/2.png must .*train.json"):
                load(wrong)


def test_windows_paths_and_urls(load, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/0.png").touch()
    content = annotation()
    content["data_list"][0]["img_path"] = r"images\0.png"
    content["data_list"][1]["img_path"] = "s3://bucket/1.png"
    dataset = load(content)
    paths = [dataset.get_data_info(i)["img_path"] for i in range(2)]
    assert paths == [str(tmp_path / "images/0.png"), "s3://bucket/1.png"]


class Blank:
    """Stands for a loader: a white picture."""

    def __call__(self, results):
        return {**results, "img": np.full((8, 8, 3), 255, np.uint8)}


@pytest.mark.parametrize("labels", [[[], [1, 0]], [[], []]])
def test_empty_sets_stay_long_through_the_pipeline(load, labels):
    dataset = load(annotation(labels), pipeline=[Blank(), {"type": "PackInputs"}])
    batch = pseudo_collate([dataset[0], dataset[1]])
    samples = ClsDataPreprocessor()(batch)["data_samples"]
    for sample, label in zip(samples, labels):
        assert sample.gt_label.dtype == torch.long
        assert sample.gt_label.tolist() == sorted(label)


def test_real_photos(shared_data):
    config = {
        "type": "JsonMultiLabel",
        "data_root": str(shared_data / "mirflickr25k_128"),
        "ann_file": "val.json",
        "pipeline": [{"type": "LoadImage"}, {"type": "PackInputs"}],
        "test_mode": True,
    }
    dataset = DATASETS.build(config)
    assert len(dataset) == 2493
    assert len(dataset.metainfo["classes"]) == 24
    sample = dataset[0]
    assert sample["inputs"].shape == (3, 128, 128)
    assert sample["data_samples"].gt_label.tolist() == dataset.get_cat_ids(0)
