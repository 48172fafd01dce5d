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


def predict(*words):
    return main(["config.py", "weights.pth", *words, "--device", "cpu"])


def test_known_labels_of_a_file(folder):
    (folder / "known.csv").write_text("image;excluded;given\nphotos/b.jpg;ant;cat\n")
    assert predict("photos", "--given", str(folder / "known.csv")) == 1  # one is unreadable
    document = json.loads((folder / "predictions" / "predictions.json").read_text("utf-8"))
    bee, cafe, _ = document["images"]
    assert (bee["given"], bee["excluded"]) == ([2], [0])
    assert bee["names"][0] == "cat"
    assert "ant" not in bee["names"]
    assert "given" not in cafe
    assert [bee["scores"][c] for c in (0, 2)] == [0, 1]
    assert (folder / "predictions" / bee["picture"]).is_file()


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "image,given\nphotos/c.jpg,ant\n",
            "1 images that are not predicted, such as photos/c.jpg",
        ),
        ("image,given\nphotos/b.jpg,emu\n", r"photos/b\.jpg, given: 'emu' is not one of the 3"),
        ("image,given,excluded\nphotos/b.jpg,ant,ant\n", "'ant' is given and excluded"),
        ("image,given\nphotos/b.jpg,ant;ant\n", r"line 2: labels \['ant'\] of .* occur twice"),
        ("image,given\nphotos/b.jpg,ant\nphotos/b.jpg,bee\n", "has more than one row in known"),
        (
            "image,labels\nphotos/b.jpg,ant\n",
            r"columns \['image', 'labels'\]; the header is image,",
        ),
        ("photos/b.jpg,ant\n", "must start with a header.*; the header is image,given or"),
    ],
)
def test_a_file_that_does_not_fit_is_a_one_line_error(folder, text, message):
    (folder / "known.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        predict("photos/b.jpg", "--given", "known.csv")
    assert "\n" not in str(error.value)
