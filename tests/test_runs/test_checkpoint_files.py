"""A checkpoint is read, never executed, and only if it is whole."""

import os
import pickle
import random
import subprocess

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from mmpretrain.registry import MODELS

from mmorderless.inference.feature_maps import _load_backbone
from mmorderless.inference.inferencer import OrderlessInferencer
from mmorderless.runs.checkpoint_files import existing_checkpoint

RESNET = dict(type="ResNet", depth=18, base_channels=4, stem_channels=4)


class Call:
    """Pickled as a call of a function, which a careless reader makes."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def calls(marker):
    """Calls that write a file if they are made."""
    touch = f"touch {marker}"
    source = f"open({str(marker)!r}, 'w')"
    return {
        "system": Call(os.system, touch),
        "popen": Call(subprocess.Popen, ["touch", str(marker)]),
        "eval": Call(eval, source),
        "exec": Call(exec, source),
        "getattr": Call(getattr, Call(eval, source), "name"),
    }


PLACES = {
    "the whole file": lambda evil, state: evil,
    "a key": lambda evil, state: {"state_dict": state, "meta": {"epoch": evil}},
    "swa": lambda evil, state: {"state_dict": state, "swa": {"raw": state, "sum": {"w": evil}}},
    "a weight": lambda evil, state: {"state_dict": {**state, "conv1.weight": evil}},
}
FORMATS = {
    "zip": lambda content, file: torch.save(content, file),
    "legacy": lambda content, file: torch.save(content, file, _use_new_zipfile_serialization=False),
    "pickle": lambda content, file: file.write_bytes(pickle.dumps(content)),
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("call", calls(""))
def test_nothing_in_a_checkpoint_is_executed(call, place, kind, tmp_path):
    marker, file = tmp_path / "marker", tmp_path / "a.pth"
    FORMATS[kind](PLACES[place](calls(marker)[call], {"w": torch.ones(2)}), file)
    with pytest.raises(ValueError, match=rf"{file} (holds|.*damaged).*"):
        CheckpointLoader.load_checkpoint(str(file))
    assert not marker.exists()


def small_config(backbone):
    head = dict(type="MultiLabelLinearClsHead", num_classes=4, in_channels=32)
    neck = dict(type="GlobalAveragePooling")
    return Config(
        dict(
            model=dict(type="ImageClassifier", backbone=backbone, neck=neck, head=head),
            data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3, num_classes=4),
            test_dataloader=dict(
                batch_size=1,
                dataset=dict(
                    type="JsonMultiLabel",
                    ann_file="unused.json",
                    pipeline=[dict(type="LoadImageFromFile"), dict(type="PackInputs")],
                ),
            ),
        )
    )


def resume(file, folder, resume=True):
    runner = Runner(
        MODELS.build(small_config(RESNET).model),
        str(folder),
        train_dataloader=dict(dataset=[], batch_size=1, sampler=dict(type="DefaultSampler")),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        load_from=file,
        resume=resume,
        default_scope="mmpretrain",
        experiment_name=folder.name,
    )
    runner.load_or_resume()


def initialize(file, folder):
    init_cfg = dict(type="Pretrained", checkpoint=file, prefix="backbone")
    MODELS.build({**RESNET, "init_cfg": init_cfg}).init_weights()


USES = {
    "load_checkpoint": lambda file, folder: load_checkpoint(MODELS.build(RESNET), file),
    "inference": lambda file, folder: OrderlessInferencer(small_config(RESNET), file),
    "feature cache": lambda file, folder: _load_backbone(MODELS.build(RESNET), file),
    "init_cfg": initialize,
    "load_from": lambda file, folder: resume(file, folder, resume=False),
    "resume": resume,
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("kind", ["zip", "legacy"])
def test_no_use_executes_a_checkpoint(use, kind, tmp_path):
    marker, file = tmp_path / "marker", tmp_path / "a.pth"
    state = MODELS.build(small_config(RESNET).model).state_dict()
    FORMATS[kind](PLACES["swa"](calls(marker)["system"], state), file)
    with pytest.raises(ValueError, match=f"{file} holds more than weights"):
        USES[use](str(file), tmp_path)
    assert not marker.exists()


def test_downloads_and_an_environment_variable_are_no_exception(tmp_path, monkeypatch):
    marker, file = tmp_path / "marker", tmp_path / "a.pth"
    FORMATS["zip"](calls(marker)["system"], file)
    # As torch.hub reads a download: without weights_only.
    CheckpointLoader.register_scheme(
        "test://", lambda *_, **__: torch.load(file, weights_only=False), force=True
    )
    with pytest.raises(ValueError, match=r"test://a\.pth holds more than weights"):
        CheckpointLoader.load_checkpoint("test://a.pth")
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with pytest.raises(RuntimeError, match="Only one of"):
        CheckpointLoader.load_checkpoint("test://a.pth")
    assert not marker.exists()
    monkeypatch.delenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD")
    torch.save(calls(marker)["system"], file)
    torch.load(file, weights_only=False)  # what a user asks for is left alone
    assert marker.exists()


def test_flipped_bits_are_noticed(tmp_path):
    file = tmp_path / "a.pth"
    torch.save({"state_dict": {"w": torch.randn(1000)}}, file)
    content, rng = file.read_bytes(), random.Random(0)
    assert existing_checkpoint(str(file)) == str(file)
    start = content.index(b"data/0") + 100  # within the tensor's bytes
    for _ in range(100):
        damaged = bytearray(content)
        damaged[start + rng.randrange(3000)] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"{file} .* is damaged"):
            CheckpointLoader.load_checkpoint(str(file))


@pytest.mark.parametrize("content", [b"<!DOCTYPE html>", b"version https://git-lfs", b""])
def test_what_is_no_checkpoint_is_an_error_wherever_it_is_read(content, tmp_path):
    file = tmp_path / "a.pth"
    file.write_bytes(content)
    for use in ("load_checkpoint", "init_cfg", "load_from"):
        with pytest.raises(ValueError, match=f"{file} .* is not a checkpoint"):
            USES[use](str(file), tmp_path / use)
