import re

import pytest

from mmorderless.datasets import base
from mmorderless.datasets.base import LabelSetDataset
from mmorderless.datasets.faults import collect_faults

RECORDS = [{"img_path": "a.jpg", "gt_label": []}, {"img_path": "b.jpg", "gt_label": [1]}]


class Listed(LabelSetDataset):
    def __init__(self, records=RECORDS, **options):
        self.records = records
        super().__init__("x.json", serialize_data=False, **options)

    def load_data_list(self):
        return self.records


def test_images_without_label_are_kept_on_request():
    dataset = Listed()
    assert [record["img_path"] for record in dataset] == ["a.jpg", "b.jpg"]
    assert dataset.dropped == {}


def test_dropped_images_are_counted_and_logged(monkeypatch, tmp_path):
    lines = []
    monkeypatch.setattr(base, "print_log", lambda line, **_: lines.append(line))
    records = [{**record, "img_path": str(tmp_path / record["img_path"])} for record in RECORDS]
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).touch()
    records.append({"img_path": str(tmp_path / "c.jpg"), "gt_label": [0]})
    dataset = Listed(records, keep_unlabeled=False, drop_missing=True)
    assert [record["gt_label"] for record in dataset] == [[1]]
    assert dataset.dropped == {"images not on disk": 1, "without a label": 1}
    assert lines == [
        "Listed: dropped 1 images not on disk (x.json)",
        "Listed: dropped 1 without a label (x.json)",
    ]


@pytest.mark.parametrize("keys, is_doubt", [((), True), (("gt_score", "gt_ignore"), False)])
def test_a_pipeline_that_drops_labels_not_judged_is_a_doubt(keys, is_doubt):
    pipeline = [dict(type="PackInputs", algorithm_keys=keys)]
    judged = {"img_path": "a.jpg", "gt_label": [], "gt_ignore": []}
    records = [{"img_path": "b.jpg", "gt_label": [0], "gt_ignore": [1]}, judged]
    with collect_faults() as faults:
        Listed([judged], pipeline=pipeline)
        Listed(records)
        assert not faults
        Listed(records, pipeline=pipeline)
    assert len(faults) == is_doubt
    if is_doubt:
        assert re.fullmatch(r"x.json: 1 images .*set PackInputs\(algorithm_keys=.*", faults[0])


def test_no_image_left():
    with pytest.raises(ValueError, match=r"x.json lists 0 images.*it must list images"):
        Listed([])
    with pytest.raises(ValueError, match=r"x.json lists 0 images.*it must list images"):
        Listed([], drop_missing=True)
    with pytest.raises(ValueError, match=r"lists 1 images.*keep_unlabeled=True"):
        Listed(RECORDS[:1], keep_unlabeled=False)
    with pytest.raises(ValueError, match=r"none of 2 images is in .*; set data_root"):
        Listed(drop_missing=True)
