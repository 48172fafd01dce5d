"""Every method memorizes a few digit scenes, far beyond what class frequencies alone would give.

The scores are on the training scenes: they show that loss, rollout and prediction fit together, not
how well a method generalizes.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.evaluator import Evaluator
from mmpretrain.registry import DATASETS, METRICS, MODELS

from mmorderless.labels.label_lists import label_matrix
from mmorderless.metrics import set_scores
from mmorderless.models.training_labels import NeedsTrainingLabels
from mmorderless.runs.config import read_config

CONFIGS = Path(__file__).parents[1] / "configs"
METHODS = sorted(path.stem for path in (CONFIGS / "_base_/methods").glob("*.py"))
COUNTED = ("lsep_count", "bce_count", "lqp")  # they learn the number of labels
NUM_SCENES = 48
STEPS = 100

# A narrower model on smaller scenes, so that a run takes a second.
SMALL = f"""
_base_ = [{str(CONFIGS / "digits/pla_digits.py")!r}]
model = dict(
    backbone=dict(channels=(8, 16, 32)),
    head=dict(
        in_channels=32,
        decoder=dict(hidden_size=48, embed_size=16, attention_size=32, dropout=0.0),
    ),
)
"""


# The same for heads that do not take the decoder's sizes.
NARROW = {
    "srn": {"model.head.hidden_channels": 64, "model.head.map_size": [4, 4]},
    "hp_net": {"model.head.stream_channels": 16, "model.head.hidden_size": 64},
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Batch of scenes as the dataloader yields it, and the class names."""
    pytest.importorskip("sklearn", reason="the digit scenes are made with scikit-learn")
    pipeline = [dict(type="LoadImage"), dict(type="PackInputs")]
    dataset = DATASETS.build(
        dict(
            type="DigitScenes",
            num_scenes=NUM_SCENES,
            size=32,
            data_root=str(tmp_path_factory.mktemp("scenes")),
            pipeline=pipeline,
        )
    )
    return pseudo_collate([dataset[i] for i in range(NUM_SCENES)]), dataset.metainfo["classes"]


def learn(method, scenes, folder):
    """Train a method on the scenes, then score its predictions for the same scenes."""
    batch, classes = scenes
    config = folder / "small.py"
    config.write_text(SMALL)
    cfg = read_config(config, {"method": method, **NARROW.get(method, {})})
    cfg.model.data_preprocessor = cfg.data_preprocessor
    model = MODELS.build(cfg.model)
    label_sets = [sample.gt_label.tolist() for sample in batch["data_samples"]]
    for module in model.modules():
        if isinstance(module, NeedsTrainingLabels):
            module.set_label_sets(classes, label_sets)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    data = model.data_preprocessor(batch, training=True)
    for _ in range(STEPS):
        loss, _ = model.parse_losses(model(**data, mode="loss"))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    evaluator = Evaluator([METRICS.build(dict(type="LabelSetMetric"))])
    model.eval()
    with torch.no_grad():
        evaluator.process(model.val_step(batch))
    return evaluator.evaluate(NUM_SCENES)


@pytest.mark.slow_except("bce", "pla", "mla", "order_free", "multi_order")
@pytest.mark.parametrize("method", METHODS)
def test_a_method_memorizes_scenes(method, scenes, tmp_path):
    metrics = learn(method, scenes, tmp_path)
    label_sets = [sample.gt_label.tolist() for sample in scenes[0]["data_samples"]]
    truth = label_matrix(label_sets, len(scenes[1]))
    frequency = truth.mean(0)
    # The best score without the images: the k most frequent labels for every scene, at the best k.
    best = max(
        set_scores.overall_scores(np.tile(frequency >= least, (NUM_SCENES, 1)), truth)["OF1"]
        for least in frequency
    )
    assert metrics["set/OF1"] > best + 10
    assert metrics["set/mAP"] > 100 * frequency.mean() + 20
    if method in COUNTED:
        count = truth.sum(1)
        assert metrics["set/label_count_error"] < np.abs(count - count.mean()).mean()
