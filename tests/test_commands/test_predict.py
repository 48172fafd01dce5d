"""One odd picture does not end the prediction of the others, and the JSON is written whole."""

import json
import os

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS

from mmorderless.commands.predict import main

LATIN1 = os.fsdecode(b"caf\xe9.jpg")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Config, checkpoint and images of a small model, in the working directory."""
    head = dict(type="MultiLabelLinearClsHead", num_classes=3, in_channels=16)
    backbone = dict(type="ResNet", depth=18, base_channels=2, stem_channels=2)
    neck = dict(type="GlobalAveragePooling")
    pipeline = [
        dict(type="LoadImage"),
        dict(type="Resize", scale=(32, 32)),
        dict(type="PackInputs"),
    ]
    dataset = dict(type="JsonMultiLabel", ann_file="unused.json", pipeline=pipeline)
    cfg = Config(
        dict(
            default_scope="mmpretrain",
            custom_imports=dict(imports=["mmorderless"], allow_failed_imports=False),
            model=dict(type="ImageClassifier", backbone=backbone, neck=neck, head=head),
            data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3, to_rgb=True),
            test_dataloader=dict(batch_size=2, dataset=dataset),
        )
    )
    cfg.dump(tmp_path / "config.py")
    meta = {"dataset_meta": {"classes": ["ant", "bee", "cat"]}}
    state = MODELS.build(cfg.model).state_dict()
    torch.save({"state_dict": state, "meta": meta}, tmp_path / "weights.pth")
    photos = tmp_path / "photos"
    photos.mkdir()
    content = cv2.imencode(".jpg", np.full((20, 30, 3), 90, np.uint8))[1].tobytes()
    for name in (LATIN1, "b.jpg"):
        (photos / name).write_bytes(content)
    start = content.index(b"\xff\xc0") + 5
    size = (20_000).to_bytes(2, "big") + (12_000).to_bytes(2, "big")
    (photos / "huge.jpg").write_bytes(content[:start] + size + content[start + 4 : -20])
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_odd_pictures_are_reported_and_the_others_predicted(folder, capsys):
    assert main(["config.py", "weights.pth", "photos", "--device", "cpu"]) == 1
    document = json.loads((folder / "predictions" / "predictions.json").read_text("utf-8"))
    bee, cafe, huge = document["images"]
    assert [bee["image"], cafe["image"]] == ["photos/b.jpg", f"photos/{LATIN1}"]
    assert cafe["labels"] == bee["labels"]
    for image in (bee, cafe):
        assert (folder / "predictions" / image["picture"]).is_file()
    assert huge["error"].startswith("image photos/huge.jpg (")
    assert "has more than 178,956,970 pixels" in huge["error"]
    assert f"error: {huge['error']}\n" in capsys.readouterr().err


def test_an_interrupted_write_keeps_the_earlier_predictions(folder, monkeypatch):
    file = folder / "predictions" / "predictions.json"
    file.parent.mkdir()
    file.write_text("earlier")
    monkeypatch.setattr(os, "getpid", lambda: 7)
    (file.parent / ".predictions.7.json").mkdir()  # which cannot be written
    with pytest.raises(OSError, match=r"predictions\.json cannot be written: Is a directory"):
        main(["config.py", "weights.pth", "photos", "--device", "cpu", "--no-pictures"])
    assert file.read_text() == "earlier"
