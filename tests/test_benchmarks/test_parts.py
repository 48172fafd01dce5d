"""Every part runs at tiny sizes and names what it measured. No test depends on a time."""

from dataclasses import replace
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from benchmarks import complexity, memory
from benchmarks.command import PARTS
from benchmarks.models import CONFIGS, build_model, config_of
from benchmarks.photos import write_photos
from benchmarks.settings import Settings
from benchmarks.train_step import TrainingSteps
from mmengine.config import Config
from mmpretrain.registry import DATASETS

from mmorderless.runs.config import read_config

QUICK = Settings(torch.device("cpu"), repeats=1, quick=True)


@pytest.fixture
def rows_of(monkeypatch):
    """Run a part without the fresh processes, which `test_timing` and the tool's test cover."""
    monkeypatch.setattr(memory, "STATUS", memory.ROOT / "no/such/file")

    def rows(part):
        measured = import_module(f"benchmarks.{part}").run(QUICK)
        for row in measured:
            assert len(row.cells()) == 6
            assert row.unit == "MB" or (np.isfinite(row.ours).all() and len(row.ours) == 1)
        return measured

    return rows


def test_each_part_has_a_module():
    for part in PARTS:
        assert callable(import_module(f"benchmarks.{part}").run)


def test_train_step(rows_of):
    rows = {row.what: row for row in rows_of("train_step")}
    shares = {name: row.ours[0] for name, row in rows.items() if name.startswith("share")}
    assert len(shares) == 4
    head = "share of the step: head, its update included"
    others = ("share of the step: backbone", "share of the step: update of the backbone")
    parts = [shares[name] for name in (head, *others)]
    assert 0 < sum(parts) <= 100.001  # the rest is between the parts
    assert 0 < shares["share of the step: alignment"] < shares[head]
    assert rows["head of it, forward and backward"].setting["T"] == 19


def test_predict(rows_of):
    rows = rows_of("predict")
    assert [row.setting["workers"] for row in rows if row.what == "folder of photos"] == [0, 2]
    waits = [row.ours[0] for row in rows if row.unit == "%"]
    assert all(0 <= wait <= 100 for wait in waits)


def test_metrics(rows_of):
    rows = rows_of("metrics")
    assert {(row.setting["N"], row.setting["C"]) for row in rows} == {(200, 80), (100, 5018)}


def test_data(rows_of):
    rows = rows_of("data")
    steps = [row.what for row in rows if row.what.startswith("step ")]
    assert sorted(steps) == [
        "step ColorJitter",
        "step LoadImage",
        "step NumpyToPIL",
        "step PILToNumpy",
        "step PackInputs",
        "step RandomAffine",
        "step RandomFlip",
        "step Resize",
    ]
    sides = [row.setting["image"] for row in rows if row.what.startswith("decode and resize")]
    assert sides == ["288×288", "224×224"]


def test_growth(rows_of):
    rows = rows_of("growth")
    points = [(row.what, tuple(row.setting.items())) for row in rows]
    assert len(set(points)) == len(points)
    assert {row.setting["grows"] for row in rows} == {"B", "labels", "C", "T"}
    alignment = [row.setting for row in rows if row.what == "PLA alignment"]
    assert [s["B"] for s in alignment if s["grows"] == "B"] == [16, 256]
    assert [s["T"] for s in alignment if s["grows"] == "T"] == [5, 20]


def test_photos_have_cocos_size(tmp_path):
    paths = write_photos(tmp_path, 2)
    assert cv2.imread(paths[0]).shape == (480, 640, 3)
    size = np.mean([Path(path).stat().st_size for path in paths])
    assert 80_000 < size < 250_000


def test_training_images_are_a_batch_of_the_dataloader():
    cfg, side = config_of(QUICK)
    images = TrainingSteps(cfg, side, 4, QUICK).images
    assert (tuple(images.shape), images.dtype) == ((4, 3, side, side), torch.uint8)


def test_complexity_is_that_counted_by_hand(rows_of):
    counts = {row.what: round(1e6 * row.ours[0]) for row in rows_of("complexity")}
    cfg, _ = config_of(QUICK)
    model = build_model(cfg, QUICK)
    for name, modules in (("encoder", [model.backbone]), ("head", [model.head])):
        parameters = sum(p.numel() for module in modules for p in module.parameters())
        assert counts[f"{name}: parameters"] == parameters


def test_complexity_of_a_config_of_ones_own(tmp_path):
    path = str(CONFIGS / "digits/pla_digits.py")
    scenes = {"data_root": str(tmp_path), "num_scenes": 30}
    scenes = {f"train_dataloader.dataset.{name}": value for name, value in scenes.items()}

    def flops(**options):
        settings = replace(QUICK, config=path, cfg_options=options)
        return {row.what: round(1e6 * row.ours[0]) for row in complexity.run(settings)}

    linear = flops(method="bce")
    assert (linear["head: FLOPs"], linear["head: parameters"]) == (64 * 10, 64 * 10 + 10)
    queries = flops(method="class_queries")
    known = flops(method="known_sets", **scenes)
    cfg = read_config(path, scenes)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    K = len({tuple(dataset.get_data_info(i)["gt_label"]) for i in range(30)})
    parameters = known["head: parameters"] - queries["head: parameters"]
    of_set = 10 * 128  # weights of the embedding of a set
    of_image = parameters - of_set - (10 + 128) - 10 - 3  # without biases, ties and scalars
    products = 3 * 10 + 128  # z·U_k, twice U_k for the marginals, and of the embeddings
    assert known["head: FLOPs"] - queries["head: FLOPs"] == of_image + K * (of_set + products)
    steps = [flops(**{"model.head.max_steps": T})["head: FLOPs"] for T in (2, 3, 5)]
    assert steps[2] - steps[1] == 2 * (steps[1] - steps[0]) > 0
    with pytest.raises(ValueError, match=r"the test pipeline of .* has neither a scale nor"):
        complexity.image_size(read_config(CONFIGS / "photos/pla_lite0_photos_cached.py"))


@pytest.mark.parametrize(
    "steps, size",
    [
        ([dict(scale=(30, 20))], (20, 30)),
        ([dict(scale=256), dict(crop_size=224)], (224, 224)),
        ([dict(scale=256), dict(crop_size=(20, 30)), dict(type="PackInputs")], (20, 30)),
    ],
)
def test_complexity_reads_the_size_of_images(steps, size):
    dataset = dict(type="DatasetPart", dataset=dict(pipeline=steps))
    assert complexity.image_size(Config(dict(test_dataloader=dict(dataset=dataset)))) == size
