"""A dataset of a few tiny images, a config for it, and a function to run the tools."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

CONFIG = """
custom_imports = dict(imports=['mmorderless', 'probe'], allow_failed_imports=False)
default_scope = 'mmpretrain'
pipeline = [dict(type='LoadImage'), dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='JsonMultiLabel', ann_file='train.json', pipeline=pipeline))
val_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(type='JsonMultiLabel', ann_file='val.json', pipeline=pipeline, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='LabelSetMetric')
train_cfg = dict(by_epoch=True, max_epochs=3, val_interval=1)
val_cfg = test_cfg = dict()
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-2))
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[127] * 3, std=[128] * 3, to_rgb=True),
    backbone=dict(type='ResNet', depth=18, base_channels=8, stem_channels=8, out_indices=(3,)),
    head=dict(type='OrderlessRNNHead', num_classes=4, in_channels=64, max_steps=6,
              decoder=dict(hidden_size=16, embed_size=8, attention_size=16)))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
custom_hooks = [dict(type='Probe')]
randomness = dict(seed=0)
"""

# Writes each process's validation metrics; kills the process in mid-epoch when asked to.
PROBE = """
import os
import signal
from pathlib import Path

from mmengine.hooks import Hook
from mmpretrain.registry import HOOKS

from mmorderless.commands.test import metrics_json


@HOOKS.register_module()
class Probe(Hook):
    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if os.environ.get('KILL_AT') == f'{runner.epoch} {batch_idx}':
            os.kill(os.getpid(), signal.SIGKILL)

    def after_val_epoch(self, runner, metrics=None):
        Path(runner.work_dir, f'val_rank{runner.rank}.json').write_text(metrics_json(metrics))
"""


@pytest.fixture
def project(tmp_path: Path, repository: Path) -> SimpleNamespace:
    """A user's folder: `folder`, and `run(command, **environment)` inside it.

    Train has 20 images (5 batches of 4), val 7.
    """
    rng = np.random.default_rng(0)
    for split, size in (("train", 20), ("val", 7)):
        (tmp_path / split).mkdir()
        records = []
        for i in range(size):
            path = f"{split}/{i}.png"
            cv2.imwrite(str(tmp_path / path), rng.integers(0, 256, (40, 48, 3), dtype=np.uint8))
            labels = rng.choice(4, int(rng.integers(0, 4)), replace=False)
            records.append(dict(img_path=path, gt_label=sorted(labels.tolist())))
        classes = dict(classes=["ant", "bee", "cat", "dog"])
        (tmp_path / f"{split}.json").write_text(
            json.dumps(dict(metainfo=classes, data_list=records))
        )
    (tmp_path / "tiny.py").write_text(CONFIG)
    (tmp_path / "probe.py").write_text(PROBE)

    def run(*command: str, **environment: str) -> subprocess.CompletedProcess:
        paths = [str(repository), str(tmp_path)]
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(paths),
            "PYTHON": sys.executable,
            "OMP_NUM_THREADS": "1",
            **environment,
        }
        tool = str(repository / "tools" / command[0])
        runner = ["bash"] if tool.endswith(".sh") else [sys.executable]
        return subprocess.run(
            [*runner, tool, *command[1:]],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            timeout=600,  # on a busy machine
        )

    return SimpleNamespace(folder=tmp_path, run=run)
