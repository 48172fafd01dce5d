import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from mmorderless._compat import (
    allow_mmengine_checkpoints,
    attribute_of_history_buffer,
    require_openmmlab,
)


@pytest.fixture(autouse=True)
def _allow():
    # The OneDL fork removes the types from PyTorch's list after each of its own loads.
    allow_mmengine_checkpoints()


def test_mmengine_checkpoint_loads_with_weights_only(tmp_path):
    buffer = HistoryBuffer([1.0, 2.0, 3.0], [1, 1, 1])
    scores = {"best": np.float64(1.5), "epoch": np.int64(3), "map": np.ones(2, np.float32)}
    torch.save(
        {"message_hub": {"log_scalars": {"loss": buffer}}, "meta": scores}, tmp_path / "c.pth"
    )
    loaded = torch.load(tmp_path / "c.pth", weights_only=True)
    assert loaded["message_hub"]["log_scalars"]["loss"].mean() == 2.0
    assert loaded["meta"]["best"] == 1.5
    assert loaded["meta"]["map"].tolist() == [1, 1]


def test_other_code_in_a_checkpoint_is_rejected(tmp_path):
    class Evil:
        def __reduce__(self):
            return getattr, (np.ndarray, "tofile")

    torch.save({"state_dict": Evil()}, tmp_path / "c.pth")
    with pytest.raises(ValueError, match="not written by mmengine"):
        torch.load(tmp_path / "c.pth", weights_only=True)
    with pytest.raises(ValueError, match="not written by mmengine"):
        attribute_of_history_buffer(HistoryBuffer, "__init__")


def test_missing_openmmlab_error_names_both_ways_to_install_it(monkeypatch):
    for name in ("mmcv", "mmpretrain"):
        monkeypatch.setitem(sys.modules, name, None)  # makes the import fail
    with pytest.raises(ImportError, match=r"needs mmcv, mmpretrain; .*\[onedl\].*\[openmmlab\]"):
        require_openmmlab()


@pytest.mark.slow
def test_import_beside_transformers_5(repository, tmp_path):
    """The multimodal models of mmpretrain import names that transformers 5 no longer has."""
    for package, number in (("transformers", "5.0.0"), ("pycocotools", "2.0.8")):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
        info = tmp_path / f"{package}-{number}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {package}\nVersion: {number}\n")
    path = os.pathsep.join([str(tmp_path), str(repository)])
    subprocess.run(
        [sys.executable, "-c", "import mmorderless, mmpretrain.models, mmpretrain.datasets"],
        env={**os.environ, "PYTHONPATH": path},
        check=True,
    )


def test_import_registers_everything(repository):
    """Run in a new process, with the one line that configs use."""
    code = """
import re
from pathlib import Path
import mmengine.utils
mmengine.utils.import_modules_from_strings(imports=['mmorderless'], allow_failed_imports=False)
from mmpretrain import registry
text = ''.join(file.read_text('utf-8') for file in Path('mmorderless').rglob('*.py'))
found = re.findall(r'^@([A-Z_]+)\\.register_module\\(.*\\nclass (\\w+)', text, re.MULTILINE)
assert len(found) > 80
missing = [name for kind, name in found if name not in getattr(registry, kind)]
assert not missing, missing
"""
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True)
