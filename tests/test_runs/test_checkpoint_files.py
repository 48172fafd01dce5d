"""A checkpoint is read, never executed, and only if it is whole."""

import io
import os
import pickle
import random
import re
import subprocess
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import CheckpointLoader, Runner, load_checkpoint
from mmpretrain.registry import MODELS

from mmorderless.errors import error_line
from mmorderless.inference.feature_maps import _load_backbone
from mmorderless.inference.inferencer import OrderlessInferencer
from mmorderless.models.weights import trained_classes
from mmorderless.runs.checkpoint_files import OTHER_KEYS, existing_checkpoint

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


def record_of(values):
    """A NumPy record, pickled as calls of functions that a reader of weights allows."""
    row = np.array([tuple(values.values())], [(k, np.asarray(v).dtype) for k, v in values.items()])
    # `in` looks for the values of a record, not for its names.
    dtype = Call(np.dtype, row.dtype.descr)
    return Call(np.float64(0).__reduce__()[0], dtype, row.tobytes())


@pytest.mark.parametrize("kind", [dict, record_of])
def test_no_config_in_a_checkpoint_is_executed(kind, tmp_path):
    """`Runner.resume` executes the text under `meta.config`."""
    marker, file = tmp_path / "marker", tmp_path / "a.pth"
    state = MODELS.build(small_config(RESNET).model).state_dict()
    meta = dict(config=f"open({str(marker)!r}, 'w')", epoch=1, iter=1, name="config")
    torch.save({"state_dict": state, "meta": kind(meta), "optimizer": {}}, file)
    with suppress(KeyError):  # no optimizer's state, or no epoch
        resume(str(file), tmp_path / "w")
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
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")  # old advice for mmengine
    with pytest.raises(ValueError, match=r"test://a\.pth holds more than weights"):
        CheckpointLoader.load_checkpoint("test://a.pth")
    assert not marker.exists()
    FORMATS["zip"]({"w": torch.ones(2)}, tmp_path / "b.pth")
    assert set(CheckpointLoader.load_checkpoint(str(tmp_path / "b.pth"))) == {"w"}
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


@pytest.mark.parametrize("field, bit", [("flags", 1), ("compression", 8)])
def test_a_damaged_directory_is_noticed(field, bit, tmp_path):
    """Python takes its content for encrypted, or for compressed."""
    content, file = bytearray(zip_bytes()), tmp_path / "a.pth"
    content[content.index(b"PK\x01\x02") + {"flags": 8, "compression": 10}[field]] ^= bit
    file.write_bytes(content)
    with pytest.raises(ValueError, match=rf"{file} .* is damaged: writing or copying"):
        CheckpointLoader.load_checkpoint(str(file))


def legacy_bytes():
    buffer = io.BytesIO()
    content = {"state_dict": {"w": torch.ones(50)}, "meta": {"epoch": 3}}
    torch.save(content, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def zip_bytes():
    buffer = io.BytesIO()
    torch.save({"state_dict": {"w": torch.ones(50)}}, buffer)
    return buffer.getvalue()


NO_CHECKPOINTS = {
    "page": (b"<!DOCTYPE html>", r"\(15 bytes\) is not a checkpoint .* web page; download"),
    "pointer": (b"version https://git-lfs", r"is not a checkpoint .* Git LFS pointer"),
    "empty": (b"", r"\(0 bytes\) is not a checkpoint"),
    "truncated pickle": (legacy_bytes()[:200], "is damaged .*; .* use another checkpoint"),
    "truncated zip": (zip_bytes()[:500], "is damaged: writing or copying"),
    "folder": (None, r"give the path of a \.pth file"),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", NO_CHECKPOINTS)
def test_what_is_no_checkpoint_is_an_error_wherever_it_is_read(name, use, tmp_path):
    content, message = NO_CHECKPOINTS[name]
    file = tmp_path / "a.pth"
    file.mkdir() if content is None else file.write_bytes(content)
    with pytest.raises((ValueError, FileNotFoundError), match=f"{file}.*{message}"):
        USES[use](str(file), tmp_path / "w")


def test_an_unreadable_file_is_an_error_that_names_it(tmp_path, monkeypatch):
    file = tmp_path / "a.pth"
    torch.save({"state_dict": {"w": torch.ones(2)}}, file)

    def refuse(path, *_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(PermissionError) as raised:
        CheckpointLoader.load_checkpoint(str(file))
    assert error_line(raised.value).startswith(f"{file}: Permission denied; check the perm")


@pytest.mark.parametrize(
    "address, line",
    [
        ("http://127.0.0.1:9/a.pth", "cannot be read .*refused.*; download it and give its path"),
        ("petrel://a.pth", "cannot be read .*petrel.*; download it and give its path"),
        ("efficientnet-lite0://other", "the only ones are efficientnet-lite0://imagenet$"),
    ],
)
def test_an_address_that_cannot_be_read_is_named_once(address, line):
    with pytest.raises((OSError, ValueError)) as raised:
        CheckpointLoader.load_checkpoint(address)
    assert re.search(line, error_line(raised.value))
    assert error_line(raised.value).count(address) == 1


def test_every_damage_of_the_legacy_format_is_one_line_that_names_the_file(tmp_path):
    """The format has no checksums: torch raises a dozen kinds of errors."""
    file, content, rng = tmp_path / "a.pth", legacy_bytes(), random.Random(0)
    for i in range(150):
        damaged = bytearray(content)
        damaged[rng.randrange(300)] = rng.randrange(256)
        file.write_bytes(damaged if i % 2 else damaged[: rng.randrange(1, len(damaged))])
        # A changed byte may be harmless.
        with suppress(ValueError) if i % 2 else pytest.raises(ValueError, match=f"^{file}"):
            CheckpointLoader.load_checkpoint(str(file))


@pytest.mark.parametrize("key", OTHER_KEYS)
def test_weights_under_the_keys_of_other_programs_are_read(key, tmp_path):
    model = MODELS.build(RESNET)
    file = tmp_path / "a.pth"
    torch.save({"epoch": 3, key: model.state_dict(), "optimizer": {}}, file)
    read = MODELS.build(RESNET)
    load_checkpoint(read, str(file))
    for name, weight in model.state_dict().items():
        assert torch.equal(read.state_dict()[name], weight)
    torch.save({"state_dict": {"w": torch.ones(2)}, key: {"w": torch.zeros(2)}}, file)
    assert CheckpointLoader.load_checkpoint(str(file))["state_dict"]["w"].sum() == 2


@pytest.mark.parametrize(
    "content, message",
    [
        (torch.zeros(2), "holds a Tensor instead of weights by name"),
        ([1], "holds a list instead of weights by name"),
        ({"state_dict": 3}, "holds a int instead of weights by name"),
        (
            {"epoch": 3, "teacher": {"w": torch.zeros(2)}},
            "holds no weights but epoch, teacher; save",
        ),
        ({}, "holds no weights but nothing; save"),
    ],
)
def test_a_file_without_weights_says_what_it_holds(content, message, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=f"{tmp_path / 'a.pth'} {message}"):
        CheckpointLoader.load_checkpoint(str(tmp_path / "a.pth"))


@pytest.mark.parametrize("meta", [None, [], {"dataset_meta": 3}, {"dataset_meta": {"classes": 3}}])
def test_meta_data_of_other_programs_name_no_classes(meta):
    assert trained_classes({"meta": meta}) is None
