"""No tool executes anything in a checkpoint, wherever a user may name one."""

import os
import pickle
from functools import partial
from pathlib import Path

import pytest
import torch

from mmorderless.commands import cache_features, export, predict, visualize
from mmorderless.commands.compare import compare
from mmorderless.commands.test import evaluate
from mmorderless.commands.train import train
from mmorderless.commands.train_stages import train_stages
from mmorderless.errors import run_tool

START = "load_from=evil.pth"
PRETRAINED = "model.backbone.init_cfg.type=Pretrained model.backbone.init_cfg.checkpoint=evil.pth"
DOORS = {
    "test": (evaluate, "tiny.py evil.pth"),
    "predict": (predict.main, "tiny.py evil.pth val/0.png"),
    "export": (export.main, "tiny.py evil.pth --out tiny.onnx"),
    "cache_features": (cache_features.main, "tiny.py --out cache --checkpoint evil.pth"),
    "visualize": (visualize.main, "tiny.py evil.pth --index 0"),
    "train --resume": (train, "tiny.py --resume evil.pth"),
    "train load_from": (train, f"tiny.py --cfg-options {START}"),
    "train init_cfg": (train, f"tiny.py --cfg-options {PRETRAINED}"),
    "train_stages": (train_stages, f"tiny.py --work-dir w --cfg-options {START}"),
    "compare": (compare, f"tiny.py --methods pla --seeds 0 --work-dir w --cfg-options {START}"),
}
FORMATS = {
    "zip": torch.save,
    "legacy": partial(torch.save, _use_new_zipfile_serialization=False),
    "pickle": lambda content, file: file.write_bytes(pickle.dumps(content)),
}
PLACES = {
    "top level": lambda evil: evil,
    "nested": lambda evil: {"state_dict": {}, "meta": {"hook_msgs": {"last": [evil]}}},
}


class Touch:
    """Pickled as a command that creates a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return os.system, (f"touch {self.file}",)


@pytest.mark.slow_except("top level-zip-test")
@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("place", PLACES)
def test_no_tool_executes_a_checkpoint(place, kind, door, project, repository, monkeypatch, capfd):
    monkeypatch.chdir(project.folder)
    monkeypatch.syspath_prepend(project.folder)
    monkeypatch.setenv("PYTHONPATH", f"{repository}:{project.folder}")
    marker = project.folder / "executed"
    FORMATS[kind](PLACES[place](Touch(marker)), project.folder / "evil.pth")
    tool, arguments = DOORS[door]
    with pytest.raises(SystemExit, match="1"):
        run_tool(tool, arguments.split())
    printed = capfd.readouterr()
    assert "error: evil.pth holds more than weights" in printed.out + printed.err
    assert not marker.exists()
