import json

import cv2
import mmcv
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from mmpretrain.registry import TRANSFORMS
from PIL import Image

from mmorderless.datasets import JsonMultiLabel, LoadImage


@pytest.fixture
def folder(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    for name in ("a.jpg", "a.png"):
        Image.fromarray(pixels).save(tmp_path / name)
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(content[: len(content) // 2])
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "half.png").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_bytes(b"<html>Not found</html>")
    return tmp_path


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
@pytest.mark.parametrize(
    "options",
    [{}, {"color_type": "grayscale"}, {"imdecode_backend": "pillow"}],
)
def test_same_result_as_mmcv(folder, name, options):
    ours = LoadImage(**options, backend_args={"backend": "local"})({"img_path": str(folder / name)})
    theirs = LoadImageFromFile(**options)({"img_path": str(folder / name)})
    np.testing.assert_array_equal(ours.pop("img"), theirs.pop("img"))
    assert ours == theirs


@pytest.mark.parametrize("backend", ["cv2", "pillow"])
@pytest.mark.parametrize("name", ["half.jpg", "half.png", "empty.jpg", "text.jpg"])
def test_damaged_image_is_named(folder, name, backend):
    with pytest.raises(ValueError, match="truncated or not an image; copy or download") as error:
        LoadImage(imdecode_backend=backend)({"img_path": str(folder / name)})
    assert str(folder / name) in str(error.value)
    assert "\n" not in str(error.value)


def test_truncated_image_is_noticed_when_the_decoder_fills_it_up(folder, monkeypatch):
    grey = np.full((40, 30, 3), 128, np.uint8)
    monkeypatch.setattr(mmcv, "imfrombytes", lambda *args, **kwargs: grey)  # as OpenCV 4 does
    with pytest.raises(ValueError, match="truncated"):
        LoadImage()({"img_path": str(folder / "half.jpg")})


def test_missing_image_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"b\.jpg does not exist; check data_root"):
        LoadImage()({"img_path": str(folder / "b.jpg")})


def dataset(folder, names, **load):
    annotation = {
        "metainfo": {"classes": ["x"]},
        "data_list": [{"img_path": name, "gt_label": [0]} for name in names],
    }
    (folder / "train.json").write_text(json.dumps(annotation))
    return JsonMultiLabel("train.json", data_root=str(folder), pipeline=[LoadImage(**load)])


@pytest.mark.parametrize("name", ["b.jpg", "half.jpg"])
def test_training_stops_at_a_bad_image(folder, name):
    with pytest.raises((FileNotFoundError, ValueError), match=name):
        dataset(folder, [name])[0]


def test_training_skips_a_bad_image_on_request(folder):
    data = dataset(folder, ["b.jpg", "half.jpg", "a.jpg"], ignore_empty=True)
    for index in range(3):
        assert data[index]["img_path"].endswith("a.jpg")


def test_registered_for_configs():
    assert isinstance(TRANSFORMS.build({"type": "LoadImage"}), LoadImage)


def test_every_real_photo_is_complete(shared_data):
    photos = sorted((shared_data / "coco_sub" / "images").iterdir())[:100]
    for photo in photos:
        img = LoadImage()({"img_path": str(photo)})["img"]
        np.testing.assert_array_equal(
            img, cv2.imdecode(np.frombuffer(photo.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
        )
