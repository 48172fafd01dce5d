import json
import math

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmpretrain.registry import MODELS
from PIL import Image

from mmorderless.datasets.faults import collect_faults
from mmorderless.datasets.loading import LoadImage
from mmorderless.datasets.wider_attribute import WiderAttribute, image_size
from mmorderless.metrics.label_set_metric import LabelSetMetric

NAMES = ["Male", "longHair", "sunglass"]
HEIGHT, WIDTH = 30, 40
PIPELINE = [
    {"type": "LoadImage"},
    {"type": "CropBox"},
    {"type": "PackInputs", "algorithm_keys": ("gt_ignore",)},
]


def annotation(targets, **changed):
    """The original form: attributes 1, −1 or 0, boxes [x, y, width, height]."""
    return {
        "images": [
            {"file_name": f"test/20--Family/{i}.png", "scene_id": 20, "targets": persons}
            for i, persons in enumerate(targets)
        ],
        "attribute_id_map": {str(i): name for i, name in enumerate(NAMES)},
        "scene_id_map": {"20": "Family"},
        **changed,
    }


def person(attribute, bbox=(1, 2, 3, 4)):
    return {"attribute": attribute, "bbox": list(bbox)}


@pytest.fixture
def load(tmp_path):
    def load(targets=(), num_images=0, changed=None, **options):
        (tmp_path / "Anno").mkdir(exist_ok=True)
        path = tmp_path / "Anno/wider_attribute_test.json"
        path.write_text(json.dumps(annotation(targets, **(changed or {}))))
        folder = tmp_path / "Image/test/20--Family"
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(num_images):
            pixels = np.random.default_rng(i).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / f"{i}.png"), pixels)
        ann_file = "Anno/wider_attribute_test.json"
        # Not serialized: collecting garbage for that is most of the time.
        return WiderAttribute(str(tmp_path), ann_file, serialize_data=False, **options)

    return load


def fields(dataset, name):
    return [dataset.get_data_info(i)[name] for i in range(len(dataset))]


def test_each_person_is_an_example(load, tmp_path):
    dataset = load(
        [[person([1, -1, 1]), person([-1, -1, -1], (5.5, 6, 2, 2.25))], [person([0, 1, -1])]]
    )
    assert fields(dataset, "gt_label") == [[0, 2], [], [1]]
    assert fields(dataset, "gt_ignore") == [[], [], [0]]
    assert fields(dataset, "box")[:2] == [(1, 2, 4, 6), (5.5, 6, 7.5, 8.25)]
    paths = [str(tmp_path / f"Image/test/20--Family/{i}.png") for i in (0, 0, 1)]
    assert fields(dataset, "img_path") == paths
    assert dataset.metainfo["classes"] == tuple(NAMES)


def test_options(load):
    targets = [[person([0, -1, 1]), person([-1, -1, -1])]]
    labeled = load(targets, keep_unlabeled=False)
    assert len(labeled) == 1
    assert labeled.dropped == {"without a label": 1}
    chosen = load(targets, classes=["sunglass", "Male"])
    assert fields(chosen, "gt_label") == [[0], []]
    assert fields(chosen, "gt_ignore") == [[1], []]


def test_boxes_are_clipped_and_those_without_area_dropped_and_counted(load):
    boxes = [
        (-5, -5, 10, 10),  # reaches out at the left and the top
        (35, 25, 100, 100),  # at the right and the bottom
        (3, 3, 0, 5),  # no width
        (3, 3, 5, -1),  # negative height
        (-9, 3, 9, 5),  # outside the image, which the size need not be known for
        (40, 0, 5, 5),  # outside the image
        (0, 0, 40, 30),
    ]
    targets = [[person([1, -1, -1], box) for box in boxes]]
    dataset = load(targets, num_images=1)
    assert fields(dataset, "box") == [(0, 0, 5, 5), (35, 25, 40, 30), (0, 0, 40, 30)]
    assert dataset.dropped == {"boxes without area": 4}


@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_sizes_are_those_of_the_picture_as_it_is_loaded(orientation, tmp_path):
    """OpenCV rotates it by the EXIF orientation."""
    path = str(tmp_path / "0.jpg")
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    exif = picture.getexif()
    exif[0x0112] = orientation
    picture.save(path, exif=exif)
    assert image_size(path) == LoadImage().transform({"img_path": path})["img_shape"]


def test_the_size_of_a_remote_picture(tmp_path, monkeypatch):
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "0.png")
    content = (tmp_path / "0.png").read_bytes()

    def get(path, backend_args=None):
        if (path, backend_args) != ("s3://bucket/0.png", {"enable_mc": False}):
            raise OSError("no such object")
        return content

    monkeypatch.setattr("mmorderless.datasets.wider_attribute.fileio.get", get)
    assert image_size("s3://bucket/0.png", {"enable_mc": False}) == (HEIGHT, WIDTH)
    assert image_size("s3://bucket/1.png") == (math.inf, math.inf)
    assert image_size("nul\0.png") == (math.inf, math.inf)


def test_damaged_exif_does_not_hide_the_size(tmp_path):
    path = str(tmp_path / "0.jpg")
    for exif in (b"Exif\0\0broken header", b"Exif\0\0MM"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(path, exif=exif)
        assert image_size(path) == LoadImage().transform({"img_path": path})["img_shape"]


def test_labels_can_be_read_without_the_images(load):
    dataset = load([[person([1, -1, -1], (38, 28, 9, 9)), person([1, 1, 1], (50, 0, 9, 9))]])
    assert fields(dataset, "box") == [(38, 28, 47, 37), (50, 0, 59, 9)]
    assert dataset.dropped == {}


def test_an_example_is_the_crop(load, tmp_path):
    dataset = load([[person([0, 1, -1], (3.5, 2, 10, 5))]], num_images=1, pipeline=PIPELINE)
    image = cv2.imread(str(tmp_path / "Image/test/20--Family/0.png"))
    sample = dataset[0]
    np.testing.assert_array_equal(sample["inputs"].permute(1, 2, 0).numpy(), image[2:7, 3:14])
    assert sample["data_samples"].gt_ignore == [0]
    assert sample["data_samples"].img_shape == (5, 11)
    assert sample["data_samples"].gt_label.tolist() == [1]


def test_unspecified_attributes_reach_the_metric_through_the_model(load):
    """Class 0 is unspecified for the first person only."""
    targets = [[person([0, 1, -1]), person([1, -1, -1]), person([-1, 1, 1]), person([-1, 1, 0])]]
    dataset = load(targets, num_images=1, pipeline=PIPELINE)
    head = dict(type="MultiLabelLinearClsHead", num_classes=3, in_channels=4)
    rnn = dict(
        head, type="OrderlessRNNHead", max_steps=4, decoder=dict(hidden_size=8, embed_size=4)
    )
    for head_cfg, feats in ((head, torch.rand(4, 4)), (rnn, torch.rand(4, 4, 2, 2))):
        samples = pseudo_collate([dataset[i] for i in range(4)])["data_samples"]
        samples = MODELS.build(head_cfg).eval().predict((feats,), samples)
        for sample, score in zip(samples, (0.9, 0.6, 0.4, 0.2)):  # the unspecified one ranks first
            sample.set_pred_score(torch.tensor([score, 1 - score, 1 - score]))
        evaluator = Evaluator([LabelSetMetric()])
        evaluator.process(samples)
        ignoring = evaluator.evaluate(4)
        for sample in samples:
            del sample.gt_ignore
        evaluator.process(samples)
        counting = evaluator.evaluate(4)
        assert ignoring["set/mAP"] > counting["set/mAP"]
        del ignoring["set/mAP"], ignoring["set/mAP_all_classes"]
        del counting["set/mAP"], counting["set/mAP_all_classes"]
        np.testing.assert_equal(ignoring, counting)  # rigidness may be NaN


@pytest.mark.parametrize(
    "changed, rule",
    [
        (
            {"images": [{"file_name": "a.jpg"}]},
            r"images\[0\] of .* lacks targets; give the original file",
        ),
        ({"attribute_id_map": {"0": "Male", "2": "Hat"}}, "attribute_id_map .* lacks 1"),
        ({"attribute_id_map": {}}, "no class names"),
        ({"attribute_id_map": None}, "attribute_id_map .* must be a JSON object, got None"),
        ({"attribute_id_map": ["Male"]}, "attribute_id_map .* must be a JSON object, got"),
        ({"attribute_id_map": {"0": 5}}, "name 0 of attribute_id_map .* must be non-blank"),
        ({"attribute_id_map": {"0": "a\ud800"}}, "name 0 of .* must be non-blank, valid text"),
        ({"images": None}, "images of .* must be a list, got None"),
        ({"images": [None]}, "images.0. of .* must be a JSON object, got None"),
        ({"images": [{"file_name": 3, "targets": []}]}, "file_name of images.0. of .* got 3"),
        ({"images": [{"file_name": "a", "targets": {}}]}, "targets of a in .* must be a list"),
        ({"images": [{"file_name": "a", "targets": [7]}]}, "a person of a in .* must be a JSON"),
    ],
)
def test_wrong_files(load, changed, rule):
    with pytest.raises(ValueError, match=rule) as error:
        load(changed=changed)
    assert "wider_attribute_test.json" in str(error.value)


@pytest.mark.parametrize(
    "target, rule",
    [
        ({"bbox": [1, 2, 3, 4]}, r"a person of .*1\.png .* lacks attribute"),
        (person([1, 1]), "must have 3 attributes, got .* download it again"),
        (person([1, 2, -1]), "must be 1, -1 or 0, got .* download it again"),
        (person([1, 1, 1], (1, 2, 3)), r"must be \[x, y, width, height\], got \[1, 2, 3\]"),
        (person([1, 1, 1], (1, 2, 3, float("nan"))), "must be .x, y, width, height., got .*nan"),
        (person([1, 1, 1], (1, 2, "3", 4)), "must be .x, y, width, height., got"),
        (person([1, 1, 1], (1, 2, 10**400, 4)), "must be .x, y, width, height., got"),
        (person([1, 1, 1], (1, 2, 1e308, 4)), "must be .x, y, width, height., got"),
        (person([1, 1, 1], (True, 2, 3, 4)), "must be .x, y, width, height., got"),
        (person([1, True, -1]), "must be 1, -1 or 0, got"),
        (person([1, [1], -1]), "must be 1, -1 or 0, got"),
        (person([1, None, 10**400]), "must be 1, -1 or 0, got"),
    ],
)
def test_wrong_persons_are_errors_or_collected(load, target, rule):
    with pytest.raises(ValueError, match=rule) as error:
        load([[person([1, -1, -1])], [target]])
    assert "\n" not in str(error.value)
    with collect_faults() as faults:
        load([[person([1, -1, -1]), target, target]])
    assert len(faults) == 2


def test_real_annotation(shared_data):
    folder = shared_data / "annotations/wider_attribute"
    path = folder / "wider_attribute_test_slice.json"
    dataset = WiderAttribute(str(folder), path.name)
    content = json.loads(path.read_text())
    persons = [person for image in content["images"] for person in image["targets"]]
    assert len(dataset) == len(persons) == 200
    assert fields(dataset, "gt_label") == [
        [c for c, value in enumerate(person["attribute"]) if value == 1] for person in persons
    ]
    assert dataset.metainfo["classes"][4] == "Tshiirt"
    assert len(set(fields(dataset, "img_path"))) == 187
