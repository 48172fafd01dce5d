import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmpretrain.datasets import VOC
from mmpretrain.evaluation import VOCAveragePrecision

from mmorderless.datasets.faults import collect_faults
from mmorderless.datasets.voc import VocMultiLabel
from mmorderless.metrics.label_set_metric import LabelSetMetric

CAT, DOG, PERSON = (VOC.METAINFO["classes"].index(name) for name in ("cat", "dog", "person"))
OBJECT = "<object><name>{}</name><difficult>{}</difficult></object>"


def xml(*objects):
    return f"<annotation>{''.join(OBJECT.format(*found) for found in objects)}</annotation>"


@pytest.fixture
def write(tmp_path):
    def write(files, names=None):
        for folder in ("Annotations", "ImageSets/Main"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (tmp_path / f"Annotations/{name}.xml").write_text(content)
        names = "".join(f"{name}\n" for name in files) if names is None else names
        (tmp_path / "ImageSets/Main/test.txt").write_text(names)
        return str(tmp_path)

    return write


def voc(root, dataset=VocMultiLabel, **options):
    """The dataset, not serialized: collecting garbage for that is most of a small one's time."""
    return dataset(root, "test", serialize_data=False, test_mode=True, **options)


def fields(dataset, name):
    return [dataset.get_data_info(i)[name] for i in range(len(dataset))]


def test_difficult_objects_are_not_judged(write, tmp_path):
    files = {
        "000001": xml(("person", 0), ("dog", 0), ("dog", 0)),
        "000002": xml(("cat", 1), ("dog", 1), ("dog", 0)),
        "000003": "<annotation><object><name>cat</name></object></annotation>",
        "000004": xml(),
    }
    dataset = voc(write(files))
    assert fields(dataset, "gt_label") == [[DOG, PERSON], [DOG], [CAT], []]
    assert fields(dataset, "gt_ignore") == [[], [CAT], [], []]
    assert dataset.get_data_info(1)["img_path"] == str(tmp_path / "JPEGImages/000002.jpg")
    assert dataset.metainfo["classes"] == VOC.METAINFO["classes"]


def test_map_is_that_of_the_host(write):
    rng = np.random.default_rng(0)
    names = VOC.METAINFO["classes"]
    files = {
        f"{i:06d}": xml(*((names[c], int(rng.random() < 0.3)) for c in rng.integers(20, size=4)))
        for i in range(200)
    }
    root = write(files)
    scores = torch.from_numpy(rng.random((200, 20))).float()
    values = {}
    for metric, dataset in ((LabelSetMetric(), VocMultiLabel), (VOCAveragePrecision(), VOC)):
        keys = ("gt_ignore", "gt_label_difficult")
        pipeline = [{"type": "PackInputs", "algorithm_keys": keys}]
        data = voc(root, dataset, pipeline=pipeline)
        samples = pseudo_collate([data[i] for i in range(200)])["data_samples"]
        for sample, score in zip(samples, scores):
            sample.set_pred_score(score)
            sample.set_pred_label(torch.nonzero(score > 0.8).flatten())
        evaluator = Evaluator([metric])
        evaluator.dataset_meta = data.metainfo
        evaluator.process(samples)
        values |= evaluator.evaluate(200)
        if metric.default_prefix == "set":
            for sample in samples:
                del sample.gt_ignore
            evaluator.process(samples)
            counted_as_negative = evaluator.evaluate(200)["set/mAP"]
    assert values["set/mAP"] == pytest.approx(values["multi-label/mAP"], abs=1e-4)
    assert values["set/mAP"] > counted_as_negative + 0.5


def test_classes_select_or_replace_those_of_pascal(write):
    files = {"a": xml(("cat", 0), ("dog", 0)), "b": xml(("person", 1))}
    dataset = voc(write(files), classes=["dog", "cat"])
    assert fields(dataset, "gt_label") == [[0, 1], []]
    assert fields(dataset, "gt_ignore") == [[], []]
    own = voc(write({"a": xml(("helmet", 0)), "b": xml(("vest", 0))}), classes=["vest", "helmet"])
    assert fields(own, "gt_label") == [[1], [0]]


def test_names_that_are_no_classes(write):
    root = write({"a": xml(("cat", 0), ("Dog", 0)), "b": xml(("helmet", 1))})
    for classes in (None, ["cat", "dog"], ["cat", "vest"]):
        with pytest.raises(ValueError, match=r"Annotations has objects named \['Dog', 'helmet'\]"):
            voc(root, classes=classes)
    with collect_faults() as faults:
        assert fields(voc(root), "gt_label") == [[CAT], []]
    (fault,) = faults
    assert "Annotations/a.xml" in fault
    assert "list the names in `classes`" in fault


@pytest.mark.parametrize(
    "content, rule",
    [
        ("", "is not valid XML"),
        (xml(("cat", 0))[:-9], r"is not valid XML .*; it may be incomplete: download it again"),
        ("version https://git-lfs.github.com/spec/v1\n", "is not valid XML"),
        ('<?xml version="1.0" encoding="x"?><annotation/>', "is not valid XML"),
        ("<html></html>", "must have the root <annotation>, got 'html'"),
        (xml(("cat", "no")), r"0 or 1 if it is difficult, got \['cat'\] and \['no'\]"),
        (xml(("cat", "1</difficult><difficult>0")), r"got \['cat'\] and \['1', '0'\]"),
        (xml(("cat</name><name>dog", 0)), r"got \['cat', 'dog'\] and \['0'\]"),
        (
            xml(("cat", 0)).replace("</object>", "<object/></object>"),
            "an object must have one name",
        ),
        (xml(("", 0)), "an object must have one name"),
        ("<annotation><object/></annotation>", "an object must have one name"),
    ],
)
def test_wrong_xml(write, content, rule):
    with pytest.raises(ValueError, match=rf"Annotations/a\.xml.*{rule}") as error:
        voc(write({"a": content}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "names, rule",
    [
        ("", "lists 0 images"),
        ("a 1\n", r"line 1: must be the name of an image, got 'a 1'"),
        ("a\0\n", "line 1: must be the name of an image"),
        ("a\n\na\n", "image a is listed twice"),
    ],
)
def test_wrong_image_sets(write, names, rule):
    with pytest.raises(ValueError, match=rule) as error:
        voc(write({"a": xml(("cat", 0))}, names))
    assert "ImageSets/Main/test.txt" in str(error.value)


def test_missing_files(write, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Main/test\.txt does not exist; set data_root"):
        voc(str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"/b\.xml does not exist; set data_root"):
        voc(write({}, "b\n"))
    with pytest.raises(ValueError, match="data_prefix of VocMultiLabel lacks ann_path"):
        voc(write({}), data_prefix="JPEGImages")


def test_a_cut_last_line_is_a_doubt(write):
    with collect_faults() as faults:
        voc(write({"a": xml()}, "a"))
    assert ["the last line, 'a', has no line end" in fault for fault in faults] == [True]
