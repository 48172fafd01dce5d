"""Shipped configs are found by name; tests/test_wheel.py does the same without the clone."""

import pytest
from mmengine.config import Config

from mmorderless import read_config
from mmorderless.runs.shipped import CONFIGS, TOOLS, config_file


def test_in_a_clone_they_are_the_clones_own(repository):
    assert (repository / "configs", repository / "tools") == (CONFIGS, TOOLS)
    assert config_file("mmorderless::a/b.py") == str(repository / "configs/a/b.py")
    assert config_file("a/b.py") == "a/b.py"


def test_a_config_elsewhere_has_a_shipped_base(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.py").write_text(
        "_base_ = 'mmorderless::coco/pla_resnet101_coco.py'\nmodel = dict(head=dict(max_steps=7))\n"
    )
    mine, shipped = Config.fromfile("my.py"), read_config("mmorderless::coco/pla_resnet101_coco.py")
    assert mine.model.head.max_steps == 7
    mine.model.head.max_steps = shipped.model.head.max_steps
    assert mine.to_dict() == shipped.to_dict()  # without a scope that no registry has
    assert read_config("my.py", {"method": "ria"}).model.head.decoder.type == "RecurrentAnnotator"


def test_a_missing_one_is_named_with_its_path(tmp_path):
    (tmp_path / "my.py").write_text("_base_ = 'mmorderless::coco/none.py'\n")
    missing = str(CONFIGS / "coco/none.py")
    for config in ("mmorderless::coco/none.py", str(tmp_path / "my.py")):
        with pytest.raises(FileNotFoundError, match=missing):
            read_config(config)
