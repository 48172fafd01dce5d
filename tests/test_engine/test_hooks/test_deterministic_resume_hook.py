import gc
import itertools
import json
import os
import random
from functools import partial
from types import SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.registry import DATA_SAMPLERS, TRANSFORMS
from PIL import Image
from torch.utils.data import BatchSampler

from mmorderless.engine.hooks.deterministic_resume_hook import DeterministicResumeHook


@TRANSFORMS.register_module()
class ThreeSourcesOfNoise:
    """Set the first row to random numbers of the three generators that transforms use."""

    def __call__(self, results):
        noise = random.random() + np.random.rand() + float(torch.rand(()))  # noqa: NPY002
        results["img"][0] = np.uint8(noise * 85)
        return results


NUM_IMAGES, BATCH = 14, 3  # 5 batches per epoch, the last of two images
NAMES = itertools.count()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder of tiny images with an annotation file."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    items = []
    for i in range(NUM_IMAGES):
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(folder / f"{i}.png")
        labels = np.flatnonzero(rng.random(5) < 0.5).tolist()
        items.append({"img_path": f"{i}.png", "gt_label": labels})
    annotation = {"metainfo": {"classes": list("abcde")}, "data_list": items}
    (folder / "train.json").write_text(json.dumps(annotation))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _short_runs():
    """Turn off what takes most of the time of short runs."""
    with pytest.MonkeyPatch.context() as patch:
        # PyTorch waits 5 s for each worker that exits slowly, then terminates it.
        patch.setattr("torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1)
        # Formatting the config for each checkpoint.
        patch.setattr(Config, "pretty_text", "")
        yield
        gc.collect()


def config_of(photos, work_dir, workers=0, accumulate=1, train_cfg=None, **changes):
    """A run with dropout, random images and random orders; 3 epochs of 5 batches."""
    cfg = dict(
        default_scope="mmpretrain",
        experiment_name=f"deterministic_resume_{next(NAMES)}",
        model=dict(
            type="ImageClassifier",
            data_preprocessor=dict(
                type="ClsDataPreprocessor", mean=[127.5] * 3, std=[64.0] * 3, to_rgb=True
            ),
            backbone=dict(type="StridedCNN", channels=(4, 8)),
            head=dict(
                type="OrderlessRNNHead",
                num_classes=5,
                in_channels=8,
                max_steps=6,
                strategy="random",
                decoder=dict(hidden_size=8, embed_size=4, attention_size=4, dropout=0.5),
            ),
        ),
        train_dataloader=dict(
            batch_size=BATCH,
            num_workers=workers,
            persistent_workers=workers > 0,
            sampler=dict(type="DefaultSampler", shuffle=True),
            collate_fn=dict(type="default_collate"),
            dataset=dict(
                type="JsonMultiLabel",
                data_root=str(photos),
                ann_file="train.json",
                serialize_data=False,
                pipeline=[
                    dict(type="LoadImage"),
                    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
                    dict(type="ColorJitter", brightness=0.5, contrast=0.5),
                    dict(type="ThreeSourcesOfNoise"),
                    dict(type="PackInputs"),
                ],
            ),
        ),
        train_cfg=train_cfg or dict(by_epoch=True, max_epochs=3),
        optim_wrapper=dict(optimizer=dict(type="Adam", lr=0.01), accumulative_counts=accumulate),
        param_scheduler=[
            dict(type="CosineAnnealingLR", T_max=15, by_epoch=False),
            dict(type="ExponentialLR", gamma=0.9, by_epoch=True),
        ],
        default_hooks=dict(
            checkpoint=dict(type="CheckpointHook", interval=1),
            logger=dict(type="LoggerHook", interval=50),
        ),
        custom_hooks=[dict(type="TrainingContextHook"), dict(type="DeterministicResumeHook")],
        randomness=dict(seed=3),
        work_dir=str(work_dir),
        log_level="ERROR",
    )
    cfg = Config(cfg)
    cfg.merge_from_dict(changes)
    return cfg


def train(cfg):
    runner = Runner.from_cfg(cfg)
    runner.train()
    return runner


def state_of(runner):
    """Return everything that must be equal."""
    return {
        "weights": runner.model.state_dict(),
        "optimizer": runner.optim_wrapper.state_dict(),
        "schedulers": [scheduler.state_dict() for scheduler in runner.param_schedulers],
        "lr": runner.optim_wrapper.get_lr(),
        "gradients": [p.grad for p in runner.model.parameters()],
        "progress": (runner.epoch, runner.iter),
    }


def differences(a, b, path=""):
    """Return the paths at which two nested states are not equal bit for bit."""
    if isinstance(a, torch.Tensor):
        return [] if torch.equal(a, b) else [path]
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        pairs = [(key, a[key], b[key]) for key in a]
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        pairs = list(zip(range(len(a)), a, b))
    else:
        return [] if a == b else [path]
    return [where for key, x, y in pairs for where in differences(x, y, f"{path}/{key}")]


@pytest.fixture(scope="module")
def whole_runs(photos, tmp_path_factory):
    """Uninterrupted runs, each trained once: (state at the end, folder) by settings."""
    runs = {}

    def run(workers=0, accumulate=1, **changes):
        key = (workers, accumulate, json.dumps(changes, sort_keys=True))
        if key not in runs:
            folder = tmp_path_factory.mktemp("whole")
            cfg = config_of(photos, folder, workers, accumulate, **changes)
            runs[key] = state_of(train(cfg)), folder
        return runs[key]

    return run


def resume_from(checkpoint):
    return dict(load_from=str(checkpoint), resume=True)


def read(checkpoint):
    return torch.load(checkpoint, weights_only=False)


BY_ITERATION = {"default_hooks.checkpoint": dict(type="CheckpointHook", by_epoch=False, interval=1)}


@pytest.mark.slow_except("2-3")
@pytest.mark.parametrize("workers, accumulate", [(0, 1), (2, 1), (0, 3), (2, 3)])
def test_resumed_run_equals_uninterrupted_run(photos, whole_runs, tmp_path, workers, accumulate):
    whole, folder = whole_runs(workers, accumulate)
    checkpoint = (
        folder / "epoch_1.pth"
    )  # 5 batches at 3 per step: the gradients of the last two are unused
    assert bool(read(checkpoint)["deterministic_resume"]["gradients"]) == (accumulate == 3)
    cfg = config_of(photos, tmp_path, workers, accumulate, **resume_from(checkpoint))
    assert whole["progress"] == (3, 15)
    assert differences(whole, state_of(train(cfg))) == []


@pytest.mark.slow_except("sampled", "prompted")
@pytest.mark.parametrize(
    "loss",
    [
        dict(type="OrderSearchLoss", uniform_steps=10),  # 3 of them are left on resuming
        dict(type="OrderSearchLoss", uniform_steps=2),
        dict(type="OCDLoss"),
        dict(type="PLALoss", prompt=0.5),
    ],
    ids=["uniform", "searched", "sampled", "prompted"],
)
def test_random_losses_resume_their_random_numbers(photos, whole_runs, tmp_path, loss):
    changes = {"model.head.strategy": None, "model.head.loss": loss, **BY_ITERATION}
    changes["optim_wrapper.optimizer.lr"] = (
        0.2  # so that the random numbers soon depend on the model
    )
    whole, folder = whole_runs(**changes)
    cfg = config_of(photos, tmp_path, **changes, **resume_from(folder / "iter_7.pth"))
    assert differences(whole, state_of(train(cfg))) == []


HEADS = {
    "known sets": dict(type="KnownSetsHead"),
    "class queries": dict(type="ClassQueryHead"),
    "hidden layer": dict(type="MultiLabelMLPHead", widths=(8,)),
    "sequence": dict(
        type="OrderlessRNNHead",
        max_steps=6,
        decoder=dict(type="ClassQueryLSTM", hidden_size=8, embed_size=4),
    ),
}


@pytest.mark.slow_except("known sets", "sequence")
@pytest.mark.parametrize("head", HEADS)
def test_other_heads_resume(photos, whole_runs, tmp_path, head):
    changes = {"model.head": dict(_delete_=True, num_classes=5, in_channels=8, **HEADS[head])}
    if head == "hidden layer":
        changes["model.neck"] = dict(type="GlobalAveragePooling")
    changes |= BY_ITERATION
    whole, folder = whole_runs(**changes)
    assert len(whole["weights"].get("head.known_sets", ())) > 1 or head != "known sets"
    cfg = config_of(photos, tmp_path, **changes, **resume_from(folder / "iter_7.pth"))
    assert differences(whole, state_of(train(cfg))) == []


@pytest.mark.slow_except("3")
@pytest.mark.parametrize("accumulate", [1, 3])
def test_workers_do_not_change_the_run(whole_runs, accumulate):
    alone = whole_runs(0, accumulate)[0]
    assert differences(alone, whole_runs(2, accumulate)[0]) == []
    fresh = whole_runs(2, accumulate, **{"train_dataloader.persistent_workers": False})[0]
    assert differences(alone, fresh) == []


def test_runs_differ_without_the_hook(photos, whole_runs, tmp_path):
    """Show that the tests above can fail."""
    without = {"custom_hooks": [dict(type="TrainingContextHook")]}
    whole, folder = whole_runs(0, 3, **without)
    assert differences(whole, whole_runs(2, 3, **without)[0])
    cfg = config_of(photos, tmp_path, 0, 3, **without, **resume_from(folder / "epoch_1.pth"))
    assert differences(whole, state_of(train(cfg)))


def test_seed_changes_the_run(whole_runs):
    other = {"randomness.seed": 4}
    assert differences(whole_runs(0, 1)[0], whole_runs(0, 1, **other)[0])


@pytest.mark.slow_except("2-7")
@pytest.mark.parametrize("workers, iteration", [(0, 1), (0, 5), (2, 7)])
def test_checkpoint_in_mid_epoch_resumes_at_the_next_batch(
    photos, whole_runs, tmp_path, monkeypatch, workers, iteration
):
    whole, folder = whole_runs(workers, 3, **BY_ITERATION)
    assert differences(whole_runs(0, 3)[0], whole) == []
    loaded = []
    monkeypatch.setattr(
        ThreeSourcesOfNoise, "__call__", count_calls(ThreeSourcesOfNoise.__call__, loaded)
    )
    checkpoint = folder / f"iter_{iteration}.pth"  # 5 is an epoch's last batch
    cfg = config_of(photos, tmp_path, workers, 3, **BY_ITERATION, **resume_from(checkpoint))
    assert differences(whole, state_of(train(cfg))) == []
    if workers == 0:  # the images of earlier batches are not read
        epochs, batches = divmod(iteration, 5)
        assert len(loaded) == (3 - epochs) * NUM_IMAGES - min(batches * BATCH, NUM_IMAGES)


def count_calls(function, calls):
    def counted(self, results):
        calls.append(results["sample_idx"])
        return function(self, results)

    return counted


def test_a_loop_that_counts_iterations_warns_when_it_is_resumed(photos, tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(
        "mmorderless.engine.hooks.deterministic_resume_hook.print_log",
        lambda text, **_: logged.append(text),
    )
    changes = {
        "train_cfg": dict(by_epoch=False, max_iters=5),
        "train_dataloader.sampler.type": "InfiniteSampler",
        **BY_ITERATION,
    }
    train(config_of(photos, tmp_path, 0, 3, **changes))
    assert not logged
    changes |= resume_from(tmp_path / "iter_3.pth")
    assert train(config_of(photos, tmp_path, 0, 3, **changes)).iter == 5
    assert "counts iterations instead of epochs" in logged[0]


def test_random_seed_is_restored(photos, whole_runs, tmp_path):
    changes = {"randomness.seed": None}
    whole, folder = whole_runs(0, 1, **changes)
    cfg = config_of(photos, tmp_path, **changes, **resume_from(folder / "epoch_1.pth"))
    assert differences(whole, state_of(train(cfg))) == []


def test_changed_settings_are_warned_about_or_rejected(photos, whole_runs, tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(
        "mmorderless.engine.hooks.deterministic_resume_hook.print_log",
        lambda text, **_: logged.append(text),
    )
    _, folder = whole_runs(0, 3, **BY_ITERATION)
    larger = {"train_dataloader.batch_size": 4}
    with pytest.raises(
        ValueError,
        match=r"cannot resume in mid-epoch, at iteration 7 in epoch 2, with other settings "
        r"\(batch_size 3 → 4, batches_per_epoch 5 → 4\): .*; restore the settings, or resume from",
    ):
        train(config_of(photos, tmp_path, 0, 3, **larger, **resume_from(folder / "iter_7.pth")))
    assert not logged
    _, folder = whole_runs(0, 1)
    train(config_of(photos, tmp_path, 0, 1, **larger, **resume_from(folder / "epoch_2.pth")))
    assert logged == [
        "the resumed run will not equal the uninterrupted one: settings have changed since the "
        "checkpoint: batch_size 3 → 4, batches_per_epoch 5 → 4"
    ]


def test_checkpoint_of_a_run_without_the_hook(photos, whole_runs, tmp_path, monkeypatch):
    logged = []
    monkeypatch.setattr(
        "mmorderless.engine.hooks.deterministic_resume_hook.print_log",
        lambda text, **_: logged.append(text),
    )
    _, folder = whole_runs(0, 1)
    checkpoint = read(folder / "epoch_2.pth")
    del checkpoint["deterministic_resume"]
    torch.save(checkpoint, tmp_path / "epoch_2.pth")
    train(config_of(photos, tmp_path, **resume_from(tmp_path / "epoch_2.pth")))
    assert len(logged) == 1
    assert "written by a run without DeterministicResumeHook, or without the opt" in logged[0]
    checkpoint["meta"]["iter"] = 9
    torch.save(checkpoint, tmp_path / "iter_9.pth")
    with pytest.raises(ValueError, match=r"cannot resume at iteration 9 .* of 5 batches each: .*;"):
        train(config_of(photos, tmp_path, **resume_from(tmp_path / "iter_9.pth")))


def test_batches_of_varying_size_cannot_be_skipped(photos, whole_runs, tmp_path):
    @DATA_SAMPLERS.register_module(force=True)
    class Halving(BatchSampler):
        pass

    changes = {"train_dataloader.batch_sampler": dict(type="Halving", drop_last=False)}
    whole, folder = whole_runs(0, 3, **changes, **BY_ITERATION)
    cfg = config_of(photos, tmp_path, 0, 3, **changes, **resume_from(folder / "iter_5.pth"))
    with pytest.raises(ValueError, match="batches of Halving have no fixed size and cannot be sk"):
        train(cfg)
    by_epoch, folder = whole_runs(0, 3, **changes)
    assert differences(whole, by_epoch) == []
    cfg = config_of(photos, tmp_path, 0, 3, **changes, **resume_from(folder / "epoch_1.pth"))
    assert differences(whole, state_of(train(cfg))) == []


def test_load_from_restores_only_weights(photos, whole_runs, tmp_path):
    """`load_from` without `resume` starts a new run without the old gradients."""
    _, folder = whole_runs(0, 3)
    checkpoint = read(folder / "epoch_1.pth")
    assert checkpoint["deterministic_resume"]["gradients"]
    bare = {"state_dict": checkpoint["state_dict"]}
    torch.save(bare, tmp_path / "weights.pth")
    runs = [
        state_of(train(config_of(photos, tmp_path, 0, 3, load_from=str(path))))
        for path in (folder / "epoch_1.pth", tmp_path / "weights.pth")
    ]
    assert differences(*runs) == []


def test_checkpoint_without_optimizer_state_has_no_gradients():
    checkpoint = {"meta": {"iter": 5}, "state_dict": {}}
    DeterministicResumeHook().before_save_checkpoint(None, checkpoint)
    assert checkpoint.keys() == {"meta", "state_dict"}


def test_ranks_epochs_and_iterations_draw_different_dropout():
    drawn = set()
    for seed, rank, iteration in [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]:
        runner = SimpleNamespace(seed=seed, rank=rank, epoch=iteration, iter=iteration)
        runner.train_loop = runner.train_dataloader = MagicMock()
        hook = DeterministicResumeHook()
        for reseed in (hook.before_train_epoch, partial(hook.before_train_iter, batch_idx=0)):
            masks = []
            for _ in range(2):
                reseed(runner)
                masks.append(tuple(F.dropout(torch.ones(64)).tolist()))
            assert masks[0] == masks[1]
            drawn.add(masks[0])
    assert len(drawn) == 8


def _train_as_rank(rank, photos, folder, settings):
    torch.set_num_threads(1)  # a forked child must not wake its parent's thread pool
    os.environ["LOCAL_RANK"] = str(rank)
    store = dist.FileStore(f"{folder}/store", 2)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=2)
    runs = {}
    for name, changes in settings.items():
        changes = dict(changes)
        cfg = config_of(photos, folder / name, 0, 2, launcher="pytorch", **changes)
        cfg.custom_hooks += [
            dict(type="BufferAgreementHook"),
            dict(type="CheckpointHook", by_epoch=False, interval=5),
        ]
        cfg.model_wrapper_cfg = dict(type="MMDistributedDataParallel", device_ids=None)
        runs[name] = state_of(train(cfg))
    torch.save(runs, folder / f"{rank}.pt")
    dist.destroy_process_group()


def test_two_processes(photos, tmp_path):
    """3 batches per epoch and rank, a step every 2: one is unused at each checkpoint."""
    settings = {
        "whole": {},
        "from_epoch": resume_from(tmp_path / "whole" / "epoch_1.pth"),
        "from_iteration": resume_from(tmp_path / "whole" / "iter_5.pth"),
    }
    torch.multiprocessing.start_processes(
        _train_as_rank, (photos, tmp_path, settings), 2, start_method="fork"
    )
    for name in ("epoch_1", "iter_5"):
        assert read(tmp_path / "whole" / f"{name}.pth")["deterministic_resume"]["gradients"]
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in (0, 1)]
    for runs in ranks:
        assert runs["whole"]["progress"] == (3, 9)
        assert differences(runs["whole"], runs["from_epoch"]) == []
        assert differences(runs["whole"], runs["from_iteration"]) == []
    assert differences(ranks[0]["whole"], ranks[1]["whole"]) == []
