import numpy as np
import pytest
from mmengine.config import Config
from mmpretrain.registry import DATASETS, TRANSFORMS

import mmorderless.datasets  # noqa: F401  (registers)

PUBLISHED = ["nuswide", "wider_attribute", "pa100k", "mirflickr", "voc2007"]


@pytest.mark.parametrize("name", ["coco", "digits", "photos", "photos_csv", *PUBLISHED])
def test_configs_use_the_hosts_grammar(name, repository):
    config = Config.fromfile(repository / "configs" / "_base_" / "datasets" / f"{name}.py")
    for split in ("train", "val", "test"):
        dataset = {**config[f"{split}_dataloader"].dataset, "lazy_init": True}
        assert len(DATASETS.build(dataset).pipeline.transforms) >= 2
        if name != "digits":  # for the metric
            assert dataset["pipeline"][-1]["algorithm_keys"] == ("gt_ignore",)
    if name == "pa100k":  # the only one with an official validation split
        splits = [config[f"{x}_dataloader"].dataset.split for x in ("train", "val", "test")]
        assert splits == ["train", "val", "test"]
    else:
        assert config.val_dataloader == config.test_dataloader
    assert config.val_evaluator == config.test_evaluator == {"type": "LabelSetMetric"}


def test_csv_classes_are_those_of_training(repository, tmp_path):
    (tmp_path / "train.csv").write_text("image,labels\na.jpg,sea;sky\nb.jpg,boat\n")
    (tmp_path / "val.csv").write_text("image,labels\nc.jpg,sky\n")
    config = Config.fromfile(repository / "configs/_base_/datasets/photos_csv.py")
    for split, labels in (("train", [1, 2]), ("val", [2]), ("test", [2])):
        changed = {"data_root": str(tmp_path), "serialize_data": False}
        dataset = DATASETS.build(config[f"{split}_dataloader"].dataset | changed)
        assert dataset.metainfo["classes"] == ("boat", "sea", "sky")
        assert dataset.get_data_info(0)["gt_label"] == labels
        assert dataset.get_data_info(0)["img_path"].startswith(str(tmp_path))


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_papers_size_and_batch(name, repository):
    config = Config.fromfile(repository / "configs" / "_base_" / "datasets" / f"{name}.py")
    for split in ("train", "val", "test"):
        loader = config[f"{split}_dataloader"]
        resize = [step for step in loader.dataset.pipeline if step.type == "Resize"]
        assert resize == [{"type": "Resize", "scale": (224, 224)}]
        assert loader.batch_size == 32


@pytest.mark.parametrize("name", ["coco", "photos", *PUBLISHED])
@pytest.mark.parametrize("height, width", [(480, 640), (333, 500), (101, 57)])
def test_a_flip_after_the_resize_gives_the_same_picture(name, repository, height, width):
    """Resizing a flipped view makes OpenCV copy it, which costs as much as decoding the photo."""
    config = Config.fromfile(repository / "configs" / "_base_" / "datasets" / f"{name}.py")
    steps = {step.type: step for step in config.train_pipeline}
    resize = TRANSFORMS.build(steps["Resize"])
    flip = TRANSFORMS.build({**steps["RandomFlip"], "prob": 1.0})
    assert list(steps).index("Resize") < list(steps).index("RandomFlip")
    img = np.random.default_rng(0).integers(256, size=(height, width, 3), dtype=np.uint8)
    np.testing.assert_array_equal(
        flip(resize({"img": img}))["img"], resize(flip({"img": img}))["img"]
    )
