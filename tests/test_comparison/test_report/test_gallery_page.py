import re
import shutil

import numpy as np
from mmengine.fileio import LocalBackend, register_backend
from PIL import Image

from mmorderless.comparison.evaluation.gallery import AttentionMaps
from mmorderless.comparison.report.gallery_page import (
    PHOTO_SIDE,
    embed_photo,
    fill_gallery,
    photo_storage,
    prediction_record,
)
from mmorderless.comparison.report.results import load_comparison


def test_photos_are_downscaled_and_turned_upright(tmp_path):
    picture = Image.new("RGB", (600, 300), "red")
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    picture.save(tmp_path / "photo.jpg", exif=exif)
    photo = embed_photo(str(tmp_path / "photo.jpg"))
    assert (photo.width, photo.height) == (PHOTO_SIDE // 2, PHOTO_SIDE)
    assert photo.source.startswith("data:image/jpeg;base64,")


def test_a_photo_that_cannot_be_read_is_none(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert embed_photo(str(tmp_path / "broken.jpg")) is None
    assert embed_photo(str(tmp_path / "missing.jpg")) is None


def test_a_photo_comes_from_the_storage_of_the_pipeline(tmp_path):
    Image.new("RGB", (20, 10), "red").save(tmp_path / "photo.png")

    class Elsewhere(LocalBackend):
        def __init__(self, folder):
            self.folder = folder

        def get(self, filepath):
            return super().get(f"{self.folder}/{filepath}")

    register_backend("elsewhere", Elsewhere, force=True)
    storage = {"backend": "elsewhere", "folder": str(tmp_path)}
    loader = {"batch_size": 2, "dataset": {"dataset": {"pipeline": [{"backend_args": storage}]}}}
    assert photo_storage(loader) == storage
    assert photo_storage({"dataset": {"pipeline": [{"type": "LoadImage"}]}}) is None
    photo = embed_photo("photo.png", storage)
    assert (photo.width, photo.height) == (20, 10)
    assert embed_photo("photo.png") is None


def test_a_record_has_the_scores_of_predicted_and_missing_labels():
    scores = np.array([0.1, 0.9, 0.5, 0.25], dtype=np.float16)
    record = prediction_record([1, 0, 1], [0, 3], scores, None)
    assert record["labels"] == [1, 0, 1]
    assert record["missing"] == [3]
    assert record["scores"] == {"1": 0.9, "0": 0.1, "3": 0.25}
    assert "maps" not in record


def test_a_record_has_only_the_maps_of_its_own_labels():
    maps = np.array([[[0.5, 0.25], [0.0, 0.25]]])
    record = prediction_record([2], [2], np.ones(4), AttentionMaps([2], maps))
    assert record["maps"] == [2, 2, "/4AAgA=="]  # 255, 128, 0, 128
    assert "maps" not in prediction_record([3], [2], np.ones(4), AttentionMaps([2], maps))


def test_the_gallery_has_as_many_photos_as_asked_for(comparison_folder):
    gallery = fill_gallery(load_comparison(comparison_folder), 3)
    assert len(gallery.cards) == 3
    assert "3 of the 12 test photos" in gallery.note
    assert len(gallery.data["truth"]) == 3


def test_the_class_filter_counts_the_photos_of_each_class(comparison_folder):
    gallery = fill_gallery(load_comparison(comparison_folder), 12)
    options = dict(gallery.filters["class"])
    assert options.pop("") == "any"
    assert len(options) == len(gallery.data["classes"])
    for label, text in options.items():
        name, count = re.fullmatch(r"(.*) \((\d+)\)", text).groups()
        assert name == gallery.data["classes"][int(label)]
        assert int(count) == sum(int(label) in labels for labels in gallery.data["truth"])


def test_attention_maps_of_a_cropped_photo_are_left_out(comparison_folder, tmp_path):
    gallery = fill_gallery(load_comparison(comparison_folder), 12)
    assert "attention" in gallery.note
    assert "CropBox" not in gallery.note
    assert any("maps" in photo for photo in gallery.data["methods"][1]["predictions"])
    folder = shutil.copytree(comparison_folder, tmp_path / "comparison")
    pipeline = "[dict(type='LoadImage'), dict(type='CropBox'), dict(type='PackInputs')]"
    for file in folder.glob("*/seed_*"):
        (file / "config.py").write_text(
            "test_dataloader = dict(dataset=dict(type='DatasetPart', "
            f"dataset=dict(pipeline={pipeline})))"
        )
    gallery = fill_gallery(load_comparison(folder), 12)
    assert "a part of each (CropBox), so attention maps are not shown" in gallery.note
    methods = gallery.data["methods"]
    assert not any("maps" in photo for method in methods for photo in method["predictions"])
