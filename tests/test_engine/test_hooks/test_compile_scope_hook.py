"""Training under mmengine's option `compile` is the same, and is compiled once."""

import numpy as np
import pytest
import torch
import torch._dynamo
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, HOOKS
from mmpretrain.structures import DataSample
from torch.utils.data import Dataset

from mmorderless.engine.hooks.compile_scope_hook import CompileScopeHook

CLASSES = "abcdef"
# PyTorch gives up (here: raises) after a function's fourth compilation; by default after its 8th.
LIMITS = dict(recompile_limit=3, fail_on_recompile_limit_hit=True)


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


RNN = dict(
    type="OrderlessRNNHead",
    num_classes=6,
    in_channels=8,
    max_steps=7,
    decoder=dict(hidden_size=8, embed_size=4, attention_size=8),
)
BCE = dict(type="MultiLabelLinearClsHead", num_classes=6, in_channels=8)


def train(folder, head, compile, scope=True, **optim_wrapper):
    """Six batches an epoch, the last of two images; the losses of two epochs."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    hooks = ["KeepLosses", "LabelOrderHook", "DeterministicResumeHook"]
    config = dict(
        default_scope="mmpretrain",
        work_dir=str(folder),
        experiment_name=f"{folder.name}_{bool(compile)}_{scope}",
        log_level="ERROR",
        model=dict(
            type="ImageClassifier",
            data_preprocessor=dict(mean=[127.5] * 3, std=[64.0] * 3, num_classes=6),
            backbone=dict(type="StridedCNN", channels=(4, 8)),
            neck=dict(type="GlobalAveragePooling") if head is BCE else None,
            head=head,
        ),
        train_dataloader=dict(
            dataset=dict(type="GrowingLabelSets"),
            sampler=dict(type="DefaultSampler", shuffle=False),
            batch_size=4,
            collate_fn=dict(type="default_collate"),
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type="Adam", lr=1e-2), **optim_wrapper),
        param_scheduler=dict(type="SawtoothLR"),
        default_hooks=dict(
            swa=dict(type="SWAHook", bn_batches=2), checkpoint=None, logger=None, timer=None
        ),
        custom_hooks=[dict(type=hook) for hook in hooks + [CompileScopeHook.__name__] * scope],
        randomness=dict(seed=3),
        compile=compile,
    )
    runner = Runner.from_cfg(Config(config))
    runner.train()
    (kept,) = (hook for hook in runner.hooks if isinstance(hook, KeepLosses))
    return kept.losses, runner.model.state_dict()


@pytest.mark.slow_except("pla")
@pytest.mark.parametrize(
    "head, wrapper, functions",
    [
        (RNN | dict(strategy="pla"), {}, 5),
        (RNN | dict(strategy="random", attention_size=None), dict(accumulative_counts=3), 5),
        (RNN | dict(strategy="dictionary", feed="target"), {}, 5),
        (BCE, {}, 3),
    ],
    ids=["pla", "random", "target", "bce"],
)
def test_compiled_training_equals_the_other(tmp_path, head, wrapper, functions):
    """Label sets, the longest of them and the batch's size vary from batch to batch."""
    losses, weights = train(tmp_path, head, None, **wrapper)
    assert len(losses) == 12
    with torch._dynamo.config.patch(**LIMITS):
        compiled_losses, compiled_weights = train(tmp_path, head, dict(backend="eager"), **wrapper)
    # One graph per function, and one more for batches of any size.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 2 * functions
    assert compiled_losses == pytest.approx(losses, rel=1e-6)
    for name, weight in weights.items():
        torch.testing.assert_close(compiled_weights[name], weight, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_what_would_happen_without_the_hook(tmp_path):
    """Shows that the test above can fail."""
    with (
        torch._dynamo.config.patch(**LIMITS),
        pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit),
    ):
        train(tmp_path, RNN | dict(strategy="pla"), dict(backend="eager"), scope=False)


def test_a_run_without_the_option_is_left_alone(tmp_path):
    losses, _ = train(tmp_path, BCE, None)
    assert losses == train(tmp_path, BCE, False, scope=False)[0]
