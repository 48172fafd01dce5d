import itertools
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import HOOKS, METRICS
from PIL import Image

from mmorderless.engine.hooks.validate_on_resume_hook import ValidateOnResumeHook
from mmorderless.metrics.label_set_metric import LabelSetMetric

NAMES = itertools.count()
BATCHES = 2  # per epoch


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch):
    monkeypatch.setattr(Config, "pretty_text", "")  # formatting takes most of such short runs


@METRICS.register_module()
class ScriptedScore(LabelSetMetric):
    """O-F1 set by the training's progress instead of the predictions."""

    scores: dict[int, float] = {}
    progress = 0

    def compute_metrics(self, results):
        return super().compute_metrics(results) | {"OF1": self.scores[ScriptedScore.progress]}


@HOOKS.register_module()
class Witness(Hook):
    """Records each epoch's learning rate and each validation."""

    priority = "VERY_HIGH"

    def __init__(self):
        self.rates, self.validated = {}, []

    def before_train_epoch(self, runner):
        self.rates[runner.epoch] = runner.optim_wrapper.get_lr()["lr"][0]

    def before_val_epoch(self, runner):
        ScriptedScore.progress = runner.epoch
        self.validated.append(runner.epoch)


@HOOKS.register_module()
class Interrupt(Hook):
    """Ends the run after a training iteration, like a kill."""

    priority = "LOWEST"

    def __init__(self, after):
        self.after = after

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if runner.iter + 1 == self.after:
            raise InterruptedError


@HOOKS.register_module()
class InterruptValidation(Hook):
    """Ends the run during a validation."""

    def __init__(self, after):
        self.after = after

    def before_val_epoch(self, runner):
        if runner.epoch == self.after:
            raise InterruptedError


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    items = []
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        items.append({"img_path": f"{i}.png", "gt_label": [i % 3]})
    annotation = {"metainfo": {"classes": list("abc")}, "data_list": items}
    (folder / "train.json").write_text(json.dumps(annotation))
    return folder


@pytest.fixture
def run(photos, tmp_path, repository):
    """Train in a folder, resuming from a checkpoint if one is named, and return the outcome."""

    def train(folder, scores, resume=None, hooks=(), with_hook=True, epochs=6, **changes):
        ScriptedScore.scores = dict(enumerate(scores, start=1))
        loader = dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type="DefaultSampler", shuffle=True),
            collate_fn=dict(type="default_collate"),
            dataset=dict(
                type="JsonMultiLabel",
                data_root=str(photos),
                ann_file="train.json",
                serialize_data=False,
                pipeline=[dict(type="LoadImage"), dict(type="PackInputs")],
            ),
        )
        stage_1 = Config.fromfile(repository / "configs/_base_/schedules/sgd.py")
        own = [dict(type="ValidateOnResumeHook")] if with_hook else []
        cfg = Config(
            dict(
                default_scope="mmpretrain",
                experiment_name=f"validate_on_resume_{next(NAMES)}",
                model=dict(
                    type="ImageClassifier",
                    data_preprocessor=dict(
                        type="ClsDataPreprocessor", mean=[127.5] * 3, std=[64.0] * 3
                    ),
                    backbone=dict(type="StridedCNN", channels=(4,)),
                    head=dict(
                        type="OrderlessRNNHead",
                        num_classes=3,
                        in_channels=4,
                        max_steps=4,
                        decoder=dict(hidden_size=4, embed_size=4, attention_size=4),
                    ),
                ),
                train_dataloader=loader,
                val_dataloader=loader | dict(sampler=dict(type="DefaultSampler", shuffle=False)),
                val_evaluator=dict(type="ScriptedScore"),
                train_cfg=dict(by_epoch=True, max_epochs=epochs),
                val_cfg=dict(),
                optim_wrapper=stage_1.optim_wrapper,
                param_scheduler=stage_1.param_scheduler,
                default_hooks=dict(
                    checkpoint=dict(
                        type="CheckpointHook", interval=1, save_best="set/OF1", rule="greater"
                    ),
                    logger=dict(type="LoggerHook", interval=50),
                ),
                custom_hooks=[
                    dict(type="DeterministicResumeHook"),
                    dict(type="Witness"),
                    *own,
                    *hooks,
                ],
                randomness=dict(seed=3),
                work_dir=str(tmp_path / folder),
                log_level="ERROR",
            )
        )
        if resume:
            cfg.merge_from_dict(dict(load_from=str(tmp_path / folder / resume), resume=True))
        cfg.merge_from_dict(changes)
        runner = Runner.from_cfg(cfg)
        witness = next(hook for hook in runner.hooks if isinstance(hook, Witness))
        interrupted = False
        try:
            runner.train()
        except InterruptedError:
            interrupted = True
        hub = runner.message_hub
        return SimpleNamespace(
            interrupted=interrupted,
            rates=witness.rates,
            validated=witness.validated,
            scheduler=runner.param_schedulers[0].state_dict(),
            weights=runner.model.state_dict(),
            best_score=hub.get_info("best_score") if "best_score" in hub.runtime_info else None,
            best=[path.name for path in (tmp_path / folder).glob("best_*.pth")],
        )

    return train


def assert_same(whole, resumed):
    """Return everything that depends on the validations, and the weights."""
    assert {**whole.rates, **resumed.rates} == whole.rates
    assert resumed.scheduler == whole.scheduler
    assert (resumed.best_score, resumed.best) == (whole.best_score, whole.best)
    assert all(torch.equal(whole.weights[name], resumed.weights[name]) for name in whole.weights)


SCORES = [50, 40, 40, 40, 60, 60]  # cut after epoch 4, best at epoch 5


@pytest.mark.slow_except("4")
@pytest.mark.parametrize("epoch", [2, 4, 5, 6])
def test_resumed_run_has_the_same_schedule_and_best_checkpoint(run, epoch):
    whole = run("whole", SCORES)
    assert whole.rates == pytest.approx(dict(zip(range(6), [0.01] * 4 + [0.001] * 2)))
    assert whole.best == ["best_set_OF1_epoch_5.pth"]
    if epoch < 6:
        first = run("resumed", SCORES, hooks=[dict(type="Interrupt", after=epoch * BATCHES + 1)])
    else:
        first = run("resumed", SCORES)
    assert first.interrupted == (epoch < 6)
    resumed = run("resumed", SCORES, resume=f"epoch_{epoch}.pth")
    assert_same(whole, resumed)
    # The best epochs' checkpoints were written again after the validation and contain it.
    made_up_for = [] if epoch == 5 else [epoch]
    assert resumed.validated == made_up_for + list(range(epoch + 1, 7))


@pytest.mark.slow_except("5")
@pytest.mark.parametrize("epoch", [1, 4, 5])
def test_run_interrupted_during_validation(run, epoch):
    """Of these, the first and the fifth would have had the best score."""
    whole = run("whole", SCORES)
    first = run("resumed", SCORES, hooks=[dict(type="InterruptValidation", after=epoch)])
    assert first.interrupted
    resumed = run("resumed", SCORES, resume=f"epoch_{epoch}.pth")
    assert resumed.validated[0] == epoch
    assert_same(whole, resumed)


def test_averaged_weights_are_validated_and_unchanged(run):
    scores = [50, 40, 40, 60]
    swa = dict(hooks=[dict(type="SWAHook")], epochs=4, param_scheduler=[dict(type="SawtoothLR")])
    whole = run("whole", scores, **swa)
    run("resumed", scores, **swa)
    resumed = run("resumed", scores, resume="epoch_3.pth", **swa)
    assert resumed.validated == [3, 4]
    assert_same(whole, resumed)


def test_runs_differ_without_the_hook(run):
    whole = run("whole", SCORES, with_hook=False)
    interrupt = [dict(type="Interrupt", after=4 * BATCHES + 1)]
    run("resumed", SCORES, hooks=interrupt, with_hook=False)
    resumed = run("resumed", SCORES, resume="epoch_4.pth", with_hook=False)
    assert resumed.rates[4] != whole.rates[4]
    run("best", SCORES, hooks=[dict(type="InterruptValidation", after=5)], with_hook=False)
    resumed = run("best", SCORES, resume="epoch_5.pth", with_hook=False)
    assert resumed.best != ["best_set_OF1_epoch_5.pth"]


def test_finished_run_gets_its_missing_best_checkpoint(run):
    scores = [50, 60]
    run("w", scores, epochs=2, hooks=[dict(type="InterruptValidation", after=2)])
    resumed = run("w", scores, epochs=2, resume="epoch_2.pth")
    assert (resumed.validated, resumed.rates) == ([2], {})
    assert (resumed.best_score, resumed.best) == (60, ["best_set_OF1_epoch_2.pth"])


@pytest.mark.slow
def test_only_due_validations_are_repeated(run):
    sparse = {"train_cfg.val_interval": 2, "train_cfg.val_begin": 2}
    run("w", SCORES, epochs=5, **sparse)
    resumed = {
        epoch: run("w", SCORES, epochs=5, resume=f"epoch_{epoch}.pth", **sparse).validated
        for epoch in range(1, 6)
    }
    # Epoch 2 and 5 were the best: their checkpoints contain the score.
    assert resumed == {1: [2, 4, 5], 2: [4, 5], 3: [4, 5], 4: [4, 5], 5: []}


def test_checkpoint_in_mid_epoch_comes_after_the_last_validation(run):
    by_iter = {
        "default_hooks.checkpoint.by_epoch": False,
    }
    scores = [50, 40, 40]
    whole = run("w", scores, epochs=3, **by_iter)
    assert whole.validated == [1, 2, 3]
    for iteration, expected in [(3, [2, 3]), (4, [2, 3]), (5, [3])]:
        resumed = run("w", scores, epochs=3, resume=f"iter_{iteration}.pth", **by_iter)
        assert resumed.validated == expected, iteration


def test_load_from_does_not_validate_first(run, tmp_path):
    run("w", SCORES, epochs=2)
    started = run("v", SCORES, epochs=1, load_from=str(tmp_path / "w/epoch_2.pth"))
    assert started.validated == [1]


def test_run_without_validation(run):
    run("w", SCORES, epochs=2)
    none = dict(val_cfg=None, val_dataloader=None, val_evaluator=None)
    assert run("w", SCORES, epochs=3, resume="epoch_2.pth", **none).validated == []


def test_checkpoints_without_optimizer_state_are_not_marked():
    checkpoint = {"meta": {"epoch": 1, "iter": 2}, "state_dict": {}}
    ValidateOnResumeHook().before_save_checkpoint(None, checkpoint)
    assert checkpoint.keys() == {"meta", "state_dict"}
