"""The average is the mean of the snapshots; validation, checkpoints and resuming use it."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS, HOOKS, MODELS
from mmpretrain.structures import DataSample
from torch import nn
from torch.optim import swa_utils
from torch.utils.data import Dataset

from mmorderless.engine.hooks import swa_hook
from mmorderless.engine.hooks.swa_hook import SWAHook, build_loader
from mmorderless.engine.schedules.updates import after_each_update
from mmorderless.models.backbones.strided_cnn import StridedCNN

BATCHES, EPOCHS = 5, 3  # 15 updates: an epoch ends in mid-cycle


@DATASETS.register_module(force=True)
class NoiseImages(Dataset):
    """Images of noise with one or two of three labels."""

    metainfo = dict(classes=("a", "b", "c"))

    def __init__(self, size, augment=False):
        self.size = size
        self.augment = augment

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8, generator=generator)
        if self.augment:
            draws = random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002
            image = (image * sum(draws) / 3).to(torch.uint8)
        sample = DataSample().set_gt_label(torch.tensor(self.get_data_info(index)["gt_label"]))
        return dict(inputs=image, data_samples=sample)

    def get_data_info(self, index):
        return dict(gt_label=sorted({index % 3, index // 3 % 3}))


@MODELS.register_module(force=True)
class HalfFrozenCNN(StridedCNN):
    """The first batch norm stays in evaluation mode, as with `frozen_stages` and `norm_eval`."""

    def train(self, mode=True):
        super().train(mode)
        self.norms[0].eval()
        return self


@HOOKS.register_module(force=True)
class Watch(Hook):
    """Records the raw weights after each update, and the weights during and after validation."""

    priority = "VERY_LOW"

    def __init__(self):
        self.updates = []
        self.validated = []
        self.metrics = []
        self.random_states = []
        self.raw = self.random_state = None

    def before_train(self, runner):
        def keep():
            self.updates.append(clone(dict(runner.model.named_parameters())))

        after_each_update(runner.optim_wrapper, keep)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.raw, self.random_state = clone(runner.model.state_dict()), random_state()
        if batch_idx == BATCHES - 1:
            self.random_states.append(self.random_state)

    def before_val_epoch(self, runner):
        if self.random_state:  # in training; a checkpoint was saved since
            assert_equal(random_state(), self.random_state)

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if batch_idx == 0:
            self.validated.append(clone(runner.model.state_dict()))

    def after_val_epoch(self, runner, metrics=None):
        self.metrics.append(dict(metrics))
        if self.raw:
            assert_equal(clone(runner.model.state_dict()), self.raw)


def clone(tensors):
    return {name: tensor.detach().clone() for name, tensor in tensors.items()}


def random_state():
    return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()  # noqa: NPY002


def assert_equal(left, right):
    """Compare nested states bit for bit."""
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_equal(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for a, b in zip(left, right):
            assert_equal(a, b)
    elif isinstance(left, torch.Tensor):
        assert left.dtype == right.dtype
        assert torch.equal(left, right)
    else:
        assert left == right


def make_runner(
    folder,
    *,
    swa=None,
    hooks=(),
    backbone="StridedCNN",
    augment=False,
    accumulate=1,
    dropout=0.0,  # a resumed run would draw other masks
    workers=0,
    strategy="pla",
    classifier=dict(type="ImageClassifier"),  # noqa: B006 - only read
    **settings,
):
    """16×16 images, three labels; five batches of four images and one of two that is dropped."""
    dataset = dict(type="NoiseImages", size=22, augment=augment)
    config = dict(
        default_scope="mmpretrain",
        work_dir=str(folder),
        experiment_name=Path(folder).name,
        model=dict(
            **classifier,
            data_preprocessor=dict(mean=[127.5] * 3, std=[64.0] * 3, num_classes=3),
            backbone=dict(type=backbone, channels=(4, 8)),
            head=dict(
                type="OrderlessRNNHead",
                num_classes=3,
                in_channels=8,
                max_steps=4,
                strategy=strategy,
                decoder=dict(hidden_size=8, embed_size=4, attention_size=8, dropout=dropout),
            ),
        ),
        train_dataloader=dict(
            dataset=dataset,
            sampler=dict(type="DefaultSampler", shuffle=True),
            batch_size=4,
            num_workers=workers,
            persistent_workers=workers > 0,
            drop_last=True,
            collate_fn=dict(type="default_collate"),
        ),
        val_dataloader=dict(
            dataset=dict(type="NoiseImages", size=10),
            sampler=dict(type="DefaultSampler", shuffle=False),
            batch_size=4,
            collate_fn=dict(type="default_collate"),
        ),
        val_evaluator=dict(type="LabelSetMetric"),
        train_cfg=dict(by_epoch=True, max_epochs=EPOCHS),
        val_cfg=dict(),
        optim_wrapper=dict(
            optimizer=dict(type="Adam", lr=1e-2),
            accumulative_counts=accumulate,
            paramwise_cfg=dict(custom_keys={"backbone": dict(lr_mult=0.1)}),
        ),
        param_scheduler=dict(type="SawtoothLR"),
        default_hooks=dict(swa=dict(type="SWAHook", **(swa or {}))),
        custom_hooks=[dict(type="Watch"), *hooks],
        randomness=dict(seed=3),
    )
    return Runner.from_cfg(Config({**config, **settings}))


def hook_of(runner, kind):
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, kind))
    return hook


def load(folder, name=f"epoch_{EPOCHS}"):
    return torch.load(Path(folder) / f"{name}.pth", weights_only=False)


def log_of(runner):
    (file,) = Path(runner.log_dir).glob("*.log")
    return file.read_text()


def mean_of(updates, numbers):
    """Mean of the weights after updates with these numbers, counted from 1, in float64."""
    snapshots = [updates[number - 1] for number in numbers]
    return {
        name: torch.stack([snapshot[name].double() for snapshot in snapshots]).mean(0)
        for name in snapshots[0]
    }


def assert_is_average(state, mean):
    for name, value in mean.items():
        torch.testing.assert_close(state[name].double(), value, rtol=1e-6, atol=1e-12)


@pytest.mark.slow_except("2-0-numbers1")
@pytest.mark.parametrize(
    "accumulate, begin, numbers",
    [(1, 0, [4, 8, 12]), (2, 0, [4, 8]), (3, 0, [4]), (1, 8, [8, 12]), (1, 9, [12])],
)
def test_average_is_the_mean_after_updates_4_8_12(tmp_path, accumulate, begin, numbers):
    runner = make_runner(tmp_path, swa=dict(begin=begin), accumulate=accumulate)
    runner.train()
    updates = hook_of(runner, Watch).updates
    assert len(updates) == -(-BATCHES * EPOCHS // accumulate)
    checkpoint = load(tmp_path)
    assert checkpoint["swa"]["updates"] == len(updates)
    assert checkpoint["swa"]["count"] == len(numbers)
    mean = mean_of(updates, numbers)
    assert_is_average(checkpoint["state_dict"], mean)
    for name, value in mean.items():
        total = checkpoint["swa"]["sum"][name]
        assert total.dtype == torch.float64
        torch.testing.assert_close(total / len(numbers), value, rtol=1e-14, atol=0)
    # The raw weights are saved too, and differ.
    raw = clone({name: checkpoint["swa"]["raw"][name] for name in mean})
    assert_equal(raw, updates[-1])
    assert all(not torch.equal(raw[name], checkpoint["state_dict"][name]) for name in mean)


def test_average_is_validated_and_raw_weights_are_restored(tmp_path):
    runner = make_runner(tmp_path, augment=True)
    runner.train()
    watch = hook_of(runner, Watch)
    # The checkpoints hold the validated weights; Watch compares the raw weights.
    for epoch, state in enumerate(watch.validated, start=1):
        assert_equal(state, dict(load(tmp_path, f"epoch_{epoch}")["state_dict"]))
        assert_is_average(state, mean_of(watch.updates, range(4, 5 * epoch + 1, 4)))
    assert len(watch.validated) == EPOCHS
    assert "validating the average of 3 snapshots" in log_of(runner)
    # After the training the model holds the average, and so does a later checkpoint.
    assert_equal(clone(runner.model.state_dict()), watch.validated[-1])
    runner.save_checkpoint(str(tmp_path), "later.pth")
    later = load(tmp_path, "later")
    assert_equal(dict(later["state_dict"]), watch.validated[-1])
    assert "swa" not in later


def test_without_a_snapshot_raw_weights_are_validated_and_logged(tmp_path):
    runner = make_runner(tmp_path, swa=dict(begin=9))
    runner.train()
    log = log_of(runner)
    for updates in (5, 10):
        assert (
            f"no snapshot after {updates} updates (the first is taken after update 12); "
            "validating the raw weights"
        ) in log
    watch = hook_of(runner, Watch)
    first = load(tmp_path, "epoch_1")
    assert (first["swa"]["updates"], first["swa"]["count"]) == (5, 0)
    for state in (watch.validated[0], dict(first["state_dict"])):
        assert_equal({name: state[name] for name in watch.updates[4]}, watch.updates[4])


def test_training_without_a_snapshot_warns_and_keeps_raw_weights(tmp_path):
    runner = make_runner(tmp_path, swa=dict(begin=16))
    runner.train()
    assert "ended after 15 updates without a snapshot (begin=16, then every 4th)" in log_of(runner)
    last = hook_of(runner, Watch).updates[-1]
    assert_equal(clone(dict(runner.model.named_parameters())), last)


@pytest.mark.slow_except("3-3-HalfFrozenCNN")
@pytest.mark.parametrize("backbone", ["StridedCNN", "HalfFrozenCNN"])
@pytest.mark.parametrize("bn_batches, batches", [(3, 3), (100, 5)])
def test_batch_norm_of_the_average_equals_update_bn(tmp_path, backbone, bn_batches, batches):
    runner = make_runner(tmp_path, swa=dict(bn_batches=bn_batches), backbone=backbone)
    runner.train()
    checkpoint = load(tmp_path)
    averaged, raw = checkpoint["state_dict"], checkpoint["swa"]["raw"]

    model = MODELS.build(runner.cfg.model)
    model.load_state_dict(averaged)
    loader = build_loader(runner)
    inputs = [model.data_preprocessor(batch, False)["inputs"] for batch in loader][:batches]
    assert [len(images) for images in inputs] == [4] * batches
    extractor = nn.ModuleList([model.backbone])
    extractor.forward = model.extract_feat
    with torch.no_grad():
        swa_utils.update_bn(inputs, extractor)
    expected = model.state_dict()
    for i, layer in enumerate(model.backbone.norms):
        for name in layer.state_dict():
            if name in ("weight", "bias"):
                continue
            key = f"backbone.norms.{i}.{name}"
            torch.testing.assert_close(averaged[key], expected[key], rtol=1e-6, atol=1e-6)
            is_frozen = backbone == "HalfFrozenCNN" and i == 0  # has the mean 0 and variance 1
            assert torch.equal(averaged[key], raw[key]) == is_frozen


def test_random_numbers_and_weights_do_not_depend_on_what_is_validated(tmp_path):
    runs = {}
    for name, swa in dict(many=dict(), few=dict(bn_batches=1), no=None).items():
        extra = {} if swa is not None else dict(default_hooks={}, val_cfg=None)
        if swa is None:
            extra |= dict(val_dataloader=None, val_evaluator=None)
        runner = make_runner(tmp_path / name, swa=swa, augment=True, **extra)
        runner.train()
        runs[name] = hook_of(runner, Watch)
    assert_equal(runs["many"].updates, runs["few"].updates)
    # The first epoch equals that of a training without validation and averages.
    assert_equal(runs["many"].updates[:BATCHES], runs["no"].updates[:BATCHES])
    assert_equal(runs["many"].random_states[0], runs["no"].random_states[0])


def validate_state(folder, state):
    folder.mkdir()
    torch.save({"state_dict": state}, folder / "state.pth")
    runner = make_runner(folder, load_from=str(folder / "state.pth"))
    metrics = runner.val()
    assert "SWAHook: " not in log_of(runner)  # it logs nothing outside of a training
    return metrics


def test_metrics_are_those_of_the_average(tmp_path):
    runner = make_runner(tmp_path)
    runner.train()
    checkpoint = load(tmp_path)
    averaged = validate_state(tmp_path / "averaged", checkpoint["state_dict"])
    raw = validate_state(tmp_path / "raw", checkpoint["swa"]["raw"])
    assert averaged["set/mAP"] != raw["set/mAP"]
    assert hook_of(runner, Watch).metrics[-1] == pytest.approx(averaged, nan_ok=True)


def test_best_checkpoint_holds_only_the_average(tmp_path):
    checkpoint = dict(type="CheckpointHook", save_best="set/mAP", rule="less")
    hooks = dict(swa=dict(type="SWAHook"), checkpoint=checkpoint)
    runner = make_runner(tmp_path, default_hooks=hooks)
    runner.train()
    (best,) = tmp_path.glob("best_*.pth")
    epoch = int(best.stem.rpartition("_")[2])
    state = load(tmp_path, best.stem)
    assert_equal(dict(state["state_dict"]), hook_of(runner, Watch).validated[epoch - 1])
    assert "swa" not in state
    resumed = make_runner(tmp_path, resume=True, load_from=str(best))
    with pytest.raises(ValueError, match=r"holds no SWA state.*; resume from an epoch_N\.pth"):
        resumed.train()


def test_checkpoints_in_mid_epoch(tmp_path):
    checkpoint = dict(type="CheckpointHook", interval=4, by_epoch=False)
    hooks = dict(swa=dict(type="SWAHook"), checkpoint=checkpoint)
    runner = make_runner(tmp_path, default_hooks=hooks)
    runner.train()
    updates = hook_of(runner, Watch).updates
    for i in (4, 8, 12):
        saved = load(tmp_path, f"iter_{i}")
        assert (saved["swa"]["updates"], saved["swa"]["count"]) == (i, i // 4)
        assert_is_average(saved["state_dict"], mean_of(updates, range(4, i + 1, 4)))
        assert_equal(clone({n: saved["swa"]["raw"][n] for n in updates[i - 1]}), updates[i - 1])
        counter = "backbone.norms.0.num_batches_tracked"
        assert (saved["swa"]["raw"][counter], saved["state_dict"][counter]) == (i, 5)


def test_checkpoint_written_while_the_model_holds_the_average(tmp_path):
    class SaveInValidation(Hook):
        def before_val_iter(self, runner, batch_idx, data_batch=None):
            runner.save_checkpoint(str(tmp_path), f"in_val_{runner.epoch}.pth")

    runner = make_runner(tmp_path)
    runner.register_hook(SaveInValidation())
    runner.train()
    for key in ("state_dict", "swa"):
        assert_equal(load(tmp_path, "in_val_3")[key], load(tmp_path)[key])


RANDOM = dict(hooks=[dict(type="DeterministicResumeHook")], augment=True, dropout=0.5)


@pytest.mark.slow_except("2-settings4", "2-settings5")
@pytest.mark.parametrize(
    "stop, settings",
    [
        (2, dict()),
        (1, dict(swa=dict(begin=6))),  # before the first snapshot
        (1, dict(**RANDOM, accumulate=2)),  # with unused gradients of one batch
        (2, dict(**RANDOM, workers=1)),
        (2, dict(**RANDOM, workers=2, strategy="random")),
        # Checkpoints hold the order.
        (2, dict(strategy="rare_first", hooks=(dict(type="TrainingContextHook"),))),
    ],
)
def test_resumed_in_mid_cycle_equals_the_uninterrupted_run(tmp_path, stop, settings):
    whole = make_runner(tmp_path / "whole", **settings)
    whole.train()
    start = dict(resume=True, load_from=str(tmp_path / f"whole/epoch_{stop}.pth"))
    resumed = make_runner(tmp_path / "resumed", **settings, **start)
    resumed.train()
    before = load(tmp_path / "whole", f"epoch_{stop}")["swa"]["updates"]
    assert before % 4
    assert_equal(hook_of(resumed, Watch).updates, hook_of(whole, Watch).updates[before:])
    assert_equal(hook_of(resumed, Watch).validated, hook_of(whole, Watch).validated[stop:])
    for key in ("state_dict", "swa", "optimizer", "param_schedulers"):
        assert_equal(load(tmp_path / "resumed")[key], load(tmp_path / "whole")[key])


@pytest.mark.slow
def test_batch_norm_statistics_do_not_depend_on_the_number_of_workers(tmp_path):
    for workers in (0, 2):
        make_runner(tmp_path / str(workers), **RANDOM, workers=workers).train()
    for key in ("state_dict", "swa"):
        assert_equal(load(tmp_path / "0")[key], load(tmp_path / "2")[key])


def test_a_model_without_batch_norm_needs_no_second_loader(tmp_path, monkeypatch):
    monkeypatch.setattr(swa_hook, "build_loader", lambda runner: pytest.fail("built"))
    frozen = dict(type="LabelSetClassifier", freeze_encoder=True)
    make_runner(tmp_path, classifier=frozen).train()
    assert load(tmp_path)["swa"]["count"] > 0


def test_training_may_start_from_an_averaged_checkpoint(tmp_path):
    first = make_runner(tmp_path / "first")
    first.train()
    path = str(tmp_path / f"first/epoch_{EPOCHS}.pth")
    second = make_runner(
        tmp_path / "second", load_from=path, train_cfg=dict(by_epoch=True, max_epochs=1)
    )
    second.train()
    state = load(tmp_path / "second", "epoch_1")
    assert (state["swa"]["updates"], state["swa"]["count"]) == (5, 1)


@pytest.mark.parametrize("options", [dict(begin=-1), dict(bn_batches=0)])
def test_invalid_options_are_errors(options):
    with pytest.raises(ValueError, match="begin must be at least 0 and bn_batches at least 1, got"):
        SWAHook(**options)


def test_the_schedule_of_the_configs(repository):
    config = Config.fromfile(repository / "configs/_base_/schedules/swa.py")
    assert config.param_scheduler == dict(type="SawtoothLR")
    assert config.default_hooks.checkpoint.save_best == "set/OF1"  # the other hooks are kept
    assert "LabelSetReportHook" in [hook.type for hook in config.custom_hooks]
    assert isinstance(HOOKS.build(config.default_hooks.swa), SWAHook)
