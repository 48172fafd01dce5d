"""Averaged weights on two processes, evaluated with the tools."""

import json

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from torch import nn
from torch.optim import swa_utils

CONFIG = """
_base_ = 'tiny.py'
custom_imports = dict(imports=['mmorderless', 'probe', 'keep'], allow_failed_imports=False)
param_scheduler = dict(type='SawtoothLR')
default_hooks = dict(swa=dict(type='SWAHook'))
custom_hooks = [dict(type='Probe'), dict(type='Keep')]
"""

# Keeps each process's averaged weights and the batches that their batch norm is estimated on.
KEEP = """
import torch
from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from mmorderless.engine.hooks.bare_model import bare_model
from mmorderless.engine.hooks.swa_hook import build_loader


@HOOKS.register_module()
class Keep(Hook):
    priority = 'VERY_LOW'

    def after_train(self, runner):
        model = bare_model(runner)
        batches = [model.data_preprocessor(batch)['inputs'] for batch in build_loader(runner)]
        kept = dict(state=model.state_dict(), batches=batches)
        torch.save(kept, f'{runner.work_dir}/rank{runner.rank}.pth')
"""

# A process has 10 images: 3 batches an epoch, of which 2 have 4 images.
UPDATES, FULL_BATCHES = 9, 2


@pytest.mark.slow
def test_two_processes_share_one_average_and_test_equals_validation(project):
    (project.folder / "swa.py").write_text(CONFIG)
    (project.folder / "keep.py").write_text(KEEP)
    trained = project.run("dist_train.sh", "swa.py", "2", "--work-dir", "w")
    assert trained.returncode == 0, trained.stderr
    checkpoint = torch.load(project.folder / "w/epoch_3.pth", weights_only=False)
    assert (checkpoint["swa"]["updates"], checkpoint["swa"]["count"]) == (UPDATES, UPDATES // 4)

    ranks = [torch.load(project.folder / f"w/rank{rank}.pth") for rank in range(2)]
    for rank in ranks:
        assert rank["state"].keys() == checkpoint["state_dict"].keys()
        for name, tensor in checkpoint["state_dict"].items():
            assert torch.equal(rank["state"][name], tensor), name

    # Batch norm uses the batches of all processes.
    model = MODELS.build(
        Config.fromfile(project.folder / "tiny.py", import_custom_modules=False).model
    )
    model.load_state_dict(checkpoint["state_dict"])
    extractor = nn.ModuleList([model.backbone])
    extractor.forward = model.extract_feat
    batches = [batch for rank in ranks for batch in rank["batches"][:FULL_BATCHES]]
    with torch.no_grad():
        swa_utils.update_bn(batches, extractor)
    for name, tensor in model.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(
                checkpoint["state_dict"][name], tensor, rtol=1e-6, atol=1e-6, msg=name
            )

    options = ("--work-dir", "t", "--out", "metrics.json")
    tested = project.run("test.py", "swa.py", "w/epoch_3.pth", *options)
    assert tested.returncode == 0, tested.stderr
    metrics = json.loads((project.folder / "metrics.json").read_text())
    for rank in range(2):
        validated = json.loads((project.folder / f"w/val_rank{rank}.json").read_text())
        assert validated == pytest.approx(metrics, nan_ok=True)
