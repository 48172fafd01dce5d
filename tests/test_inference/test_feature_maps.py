"""Cached maps equal those of the frozen backbone and are not mixed with others."""

import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from mmorderless.datasets.cached_features import CachedFeatures, read_index
from mmorderless.errors import error_line, is_user_error
from mmorderless.inference.feature_maps import cache_features, digest_of_weights

BACKBONE = dict(type="ResNet", depth=18, base_channels=4, stem_channels=4)
SIZES = {"train": 5, "val": 3}


@pytest.fixture
def config(tmp_path) -> Config:
    rng = np.random.default_rng(0)
    for split, size in SIZES.items():
        records = []
        for i in range(size):
            name = f"{split}{i}.png"
            cv2.imwrite(str(tmp_path / name), rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
            records.append(dict(img_path=name, gt_label=[i % 2] if i else []))
        text = json.dumps(dict(metainfo=dict(classes=["ant", "bee"]), data_list=records))
        (tmp_path / f"{split}.json").write_text(text)

    def loader(split: str, pipeline: list[dict]) -> dict:
        data = dict(type="JsonMultiLabel", data_root=str(tmp_path), ann_file=f"{split}.json")
        return dict(batch_size=2, num_workers=0, dataset=dict(**data, pipeline=pipeline))

    plain = [dict(type="LoadImage"), dict(type="Resize", scale=(64, 64)), dict(type="PackInputs")]
    flipped = [*plain[:2], dict(type="RandomFlip", prob=1.0), plain[2]]
    return Config(
        dict(
            model=dict(
                type="ImageClassifier",
                backbone=BACKBONE,
                data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3, to_rgb=True),
            ),
            train_dataloader=loader("train", flipped),
            val_dataloader=loader("val", plain),
            test_dataloader=loader("val", plain),
        )
    )


@pytest.fixture
def checkpoint(tmp_path) -> str:
    state = {f"backbone.{k}": v for k, v in MODELS.build(BACKBONE).state_dict().items()}
    torch.save({"state_dict": {**state, "head.fc.weight": torch.zeros(2)}}, tmp_path / "model.pth")
    return str(tmp_path / "model.pth")


def test_maps_are_the_frozen_backbones_without_augmentation(config, checkpoint, tmp_path):
    # Of two equal datasets (val and test) one is stored.
    assert cache_features(config, tmp_path / "cache", checkpoint) == ["train", "val"]
    backbone = MODELS.build(BACKBONE)
    backbone.eval()
    state = torch.load(checkpoint)["state_dict"]
    backbone.load_state_dict(
        {k.removeprefix("backbone."): v for k, v in state.items() if k.startswith("backbone.")}
    )
    for split, size in SIZES.items():
        dataset = CachedFeatures(str(tmp_path / "cache"), split)
        assert len(dataset) == size
        for i, item in enumerate(dataset):
            image = cv2.imread(str(tmp_path / f"{split}{i}.png"))
            image = cv2.resize(image, (64, 64))[..., ::-1].astype(np.float32)
            with torch.no_grad():
                wanted = backbone(torch.from_numpy((image - 127) / 128).permute(2, 0, 1)[None])[0]
            torch.testing.assert_close(item["inputs"].float(), wanted[0], rtol=2e-3, atol=2e-3)
            assert item["data_samples"].gt_label.tolist() == ([i % 2] if i else [])


def test_second_run_keeps_cached_splits(config, checkpoint, tmp_path, capsys):
    cache_features(config, tmp_path / "cache", checkpoint)
    before = (tmp_path / "cache/train.npy").stat().st_mtime_ns
    capsys.readouterr()
    cache_features(config, tmp_path / "cache", checkpoint)
    assert "train: 5 images, already cached" in capsys.readouterr().out
    assert (tmp_path / "cache/train.npy").stat().st_mtime_ns == before


def test_a_damaged_cache_is_not_kept(config, checkpoint, tmp_path):
    cache_features(config, tmp_path / "cache", checkpoint)
    file = tmp_path / "cache/train.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"^{file} has .*; delete the folder {file.parent} and "):
        cache_features(config, tmp_path / "cache", checkpoint)


def change_weights(config, checkpoint):
    content = torch.load(checkpoint)
    content["state_dict"]["backbone.conv1.weight"] += 1
    torch.save(content, checkpoint)


def change_resize(config, checkpoint):
    config.test_dataloader.dataset.pipeline[1].scale = (32, 32)


def change_labels(config, checkpoint):
    file = Path(config.train_dataloader.dataset.data_root, "train.json")
    content = json.loads(file.read_text())
    content["data_list"][2]["gt_label"] = [0, 1]
    file.write_text(json.dumps(content))


@pytest.mark.parametrize("change", [change_weights, change_resize, change_labels])
def test_cache_of_other_weights_pipeline_or_data_is_rejected(config, checkpoint, tmp_path, change):
    cache_features(config, tmp_path / "cache", checkpoint)
    change(config, checkpoint)
    with pytest.raises(ValueError, match="other weights, another pipeline or other data; give"):
        cache_features(config, tmp_path / "cache", checkpoint)


def test_a_backbone_without_weights_is_an_error(config, tmp_path):
    with pytest.raises(ValueError, match="the backbone has no weights: give --checkpoint"):
        cache_features(config, tmp_path / "cache")


def test_a_backbones_own_pretrained_weights_are_used(config, checkpoint, tmp_path, capsys):
    cache_features(config, tmp_path / "cache", checkpoint)
    config.model.backbone.init_cfg = dict(
        type="Pretrained", checkpoint=checkpoint, prefix="backbone"
    )
    cache_features(config, tmp_path / "cache")
    # The same weights from another source: nothing to compute again.
    assert "train: 5 images, already cached" in capsys.readouterr().out


def test_the_cache_names_its_weights(config, checkpoint, tmp_path):
    cache_features(config, tmp_path / "a", checkpoint)
    config.model.backbone.init_cfg = dict(
        type="Pretrained", checkpoint=checkpoint, prefix="backbone"
    )
    cache_features(config, tmp_path / "b")
    names = [read_index(tmp_path / cache, "train")["weights"] for cache in ("a", "b")]
    assert names[0] == names[1]
    assert re.fullmatch(rf"{checkpoint} \(sha256 of the backbone [0-9a-f]{{12}}\)", names[0])


def test_pooled_features_are_an_error(config, checkpoint, tmp_path):
    config.model.backbone = dict(type="LeNet5", num_classes=3)
    config.model.data_preprocessor = dict(type="ClsDataPreprocessor")
    config.test_dataloader.dataset.pipeline = [
        dict(type="LoadImage", color_type="grayscale"),
        dict(type="Resize", scale=(32, 32)),
        dict(type="PackInputs"),
    ]
    torch.save(MODELS.build(config.model.backbone).state_dict(), checkpoint)
    with pytest.raises(ValueError, match=r"features of shape \(2, 3\), expected a map"):
        cache_features(config, tmp_path / "cache", checkpoint)


def test_images_of_several_sizes_are_an_error(config, checkpoint, tmp_path):
    """Those of a batch would be padded by mmpretrain, which changes their features."""
    cv2.imwrite(str(tmp_path / "train1.png"), np.zeros((32, 50, 3), np.uint8))
    del config.test_dataloader.dataset.pipeline[1]
    with pytest.raises(RuntimeError) as raised:
        cache_features(config, tmp_path / "cache", checkpoint)
    assert is_user_error(raised.value)
    assert "give the pipeline a Resize with two numbers" in error_line(raised.value)


def test_a_dataset_without_its_own_pipeline_is_an_error(config, checkpoint, tmp_path):
    config.train_dataloader.dataset = dict(
        type="RepeatDataset", times=2, dataset=config.train_dataloader.dataset
    )
    with pytest.raises(ValueError, match=r"train_dataloader \(RepeatDataset\) has no pipeline"):
        cache_features(config, tmp_path / "cache", checkpoint)


def test_digest_depends_on_names_shapes_types_and_values():
    base = {"a": torch.arange(4.0)}
    others = [
        {"b": torch.arange(4.0)},
        {"a": torch.arange(4.0).reshape(2, 2)},
        {"a": torch.arange(4.0).double()},
        {"a": torch.arange(4.0) + 1},
    ]
    digests = {digest_of_weights(weights) for weights in [base, *others]}
    assert len(digests) == 5
    assert digest_of_weights({"a": torch.arange(4.0)}) in digests
