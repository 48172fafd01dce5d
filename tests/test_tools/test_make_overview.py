import os
import subprocess
import sys

import cv2
import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS

from mmorderless.runs.config import read_config

CONFIG = """
_base_ = ["{repository}/configs/digits/pla_digits.py"]
train_dataloader = dict(dataset=dict(num_scenes=4))
val_dataloader = test_dataloader = dict(dataset=dict(num_scenes=4))
"""


@pytest.mark.slow
def test_the_picture_is_drawn(repository, tmp_path):
    config, checkpoint, picture = (tmp_path / name for name in ("c.py", "c.pth", "new/c.png"))
    config.write_text(CONFIG.format(repository=repository))
    cfg = read_config(str(config))
    init_default_scope(cfg.default_scope)
    torch.save({"state_dict": MODELS.build(cfg.model).state_dict()}, checkpoint)
    script = str(repository / "tools/make_overview.py")
    options = ["--config", str(config), "--index", "1", "--out", str(picture)]
    subprocess.run(
        [sys.executable, script, str(checkpoint), *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        check=True,
    )
    assert min(cv2.imread(str(picture)).shape[:2]) > 100
