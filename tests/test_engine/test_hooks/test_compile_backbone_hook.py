"""Training with a compiled backbone is the same, and nothing else is compiled."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
import torch._dynamo
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, HOOKS, OPTIM_WRAPPERS
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset

from mmorderless.engine.hooks.compile_backbone_hook import CompileBackboneHook

CLASSES = "abcdef"


@DATASETS.register_module(force=True)
class GrowingLabelSets(Dataset):
    """Images of noise; the later ones have up to five labels."""

    metainfo = dict(classes=tuple(CLASSES))

    def __len__(self):
        return 22

    def get_data_info(self, index):
        random = np.random.default_rng(index)
        size = random.integers(0, 1 + index // 4)
        return dict(gt_label=sorted(random.choice(len(CLASSES), size, replace=False).tolist()))

    def __getitem__(self, index):
        image = np.random.default_rng(index).integers(0, 256, (3, 16, 16), dtype=np.uint8)
        labels = torch.tensor(self.get_data_info(index)["gt_label"], dtype=torch.long)
        sample = DataSample().set_gt_label(labels)
        return dict(inputs=torch.from_numpy(image), data_samples=sample)


@HOOKS.register_module(force=True)
class KeepLosses(Hook):
    def __init__(self):
        self.losses = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append(outputs["loss"].item())


@OPTIM_WRAPPERS.register_module(force=True)
class CpuAutocast(OptimWrapper):
    """`AmpOptimWrapper` needs an accelerator; its autocast context does not."""

    @contextmanager
    def optim_context(self, model):
        with super().optim_context(model), torch.autocast("cpu", torch.bfloat16):
            yield


RNN = dict(
    type="OrderlessRNNHead",
    num_classes=6,
    in_channels=8,
    max_steps=7,
    decoder=dict(hidden_size=8, embed_size=4, attention_size=8),
)
BCE = dict(type="MultiLabelLinearClsHead", num_classes=6, in_channels=8)
GRAPHS = 8  # at most: training, validation and batch norm, batches of four and of two


def train(folder, head, compile, model=None, **optim_wrapper):
    """Train two epochs of six batches, the last of two images.

    Returns:
        The losses, the weights and, from the eager backend, what each compiled graph computes.
    """
    graphs = []

    def backend(graph_module, inputs):
        graphs.append([node.target for node in graph_module.graph.nodes])
        return graph_module.forward

    torch._dynamo.reset()
    loader = dict(
        dataset=dict(type="GrowingLabelSets"),
        sampler=dict(type="DefaultSampler", shuffle=False),
        batch_size=4,
        collate_fn=dict(type="default_collate"),
    )
    options = dict(backend=backend) if compile == "eager" else dict(backend=compile)
    hooks = [
        dict(type=hook) for hook in ("KeepLosses", "TrainingContextHook", "DeterministicResumeHook")
    ]
    config = dict(
        default_scope="mmpretrain",
        work_dir=str(folder),
        experiment_name=f"{folder.name}_{compile}",
        log_level="ERROR",
        model=dict(
            data_preprocessor=dict(mean=[127.5] * 3, std=[64.0] * 3, num_classes=6),
            backbone=dict(type="StridedCNN", channels=(4, 8)),
            neck=dict(type="GlobalAveragePooling") if head is BCE else None,
            head=head,
            **(model or dict(type="ImageClassifier")),
        ),
        train_dataloader=loader,
        val_dataloader=loader,
        val_cfg=dict(),
        val_evaluator=dict(type="LabelSetMetric"),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type="Adam", lr=1e-2), **optim_wrapper),
        param_scheduler=dict(type="SawtoothLR"),
        default_hooks=dict(
            swa=dict(type="SWAHook", bn_batches=2), checkpoint=None, logger=None, timer=None
        ),
        custom_hooks=hooks,
        randomness=dict(seed=3),
    )
    runner = Runner.from_cfg(Config(config))
    if compile:
        runner.register_hook(CompileBackboneHook(**options))
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        runner.train()
    (kept,) = (hook for hook in runner.hooks if isinstance(hook, KeepLosses))
    return kept.losses, runner.model.state_dict(), graphs


@pytest.mark.slow_except("pla", "autocast")
@pytest.mark.parametrize(
    "head, wrapper, model",
    [
        (RNN | dict(strategy="pla"), {}, None),
        (RNN | dict(strategy="random"), dict(accumulative_counts=3), None),
        (RNN | dict(strategy="pla"), {}, dict(type="LabelSetClassifier", channels_last=True)),
        (RNN | dict(strategy="pla"), {}, dict(type="LabelSetClassifier", freeze_encoder=True)),
        (RNN | dict(strategy="pla"), dict(type="CpuAutocast"), None),
        (BCE, {}, None),
    ],
    ids=["pla", "accumulation", "channels-last", "frozen", "autocast", "bce"],
)
def test_compiled_training_equals_eager_training(tmp_path, head, wrapper, model):
    """Label sets, the longest of them and the batch size vary from batch to batch."""
    losses, weights, _ = train(tmp_path, head, None, model, **wrapper)
    compiled_losses, compiled_weights, graphs = train(tmp_path, head, "eager", model, **wrapper)
    assert len(losses) == 12
    assert compiled_losses == pytest.approx(losses, rel=1e-6)
    assert compiled_weights.keys() == weights.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(compiled_weights[name], weight, rtol=1e-5, atol=1e-6)
    assert 0 < len(graphs) <= GRAPHS
    for targets in graphs:  # the backbone's four convolutions, and nothing of the head
        assert targets.count(torch.conv2d) == 4
        assert all("linear" not in str(target) for target in targets)


@pytest.mark.slow
def test_inductor_training_equals_eager_training(tmp_path):
    head = RNN | dict(strategy="pla")
    for wrapper, rtol in (({}, 1e-4), (dict(type="CpuAutocast"), 2e-2)):
        losses, weights, _ = train(tmp_path, head, None, **wrapper)
        compiled_losses, compiled_weights, _ = train(tmp_path, head, "inductor", **wrapper)
        assert compiled_losses == pytest.approx(losses, rel=rtol)
        assert compiled_weights.keys() == weights.keys()
