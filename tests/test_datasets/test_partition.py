"""A part of the training set is held out by one key of the config; unusable settings are errors."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS, MODELS
from PIL import Image

from mmorderless.commands.check_dataset import main as check_dataset
from mmorderless.commands.test import evaluate
from mmorderless.datasets.annotations import Published
from mmorderless.datasets.cached_features import CachedFeatures, write_split
from mmorderless.datasets.inspection import Split, compare_splits
from mmorderless.datasets.json_labels import JsonMultiLabel
from mmorderless.datasets.partition import apply_val_split
from mmorderless.inference.feature_maps import cache_features
from mmorderless.inference.inferencer import OrderlessInferencer
from mmorderless.labels.fixed_orders import count_labels
from mmorderless.models.losses.aligned import FixedOrderLoss
from mmorderless.runs.config import read_config
from mmorderless.runs.launch import build_runner, training_config
from mmorderless.runs.options import parse_training_options

CONFIG = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mmorderless'], allow_failed_imports=False)
test_pipeline = [
    dict(type='LoadImage'), dict(type='Resize', scale=(16, 16)), dict(type='PackInputs')]
train_pipeline = [
    dict(type='LoadImage'), dict(type='Resize', scale=(16, 16)),
    dict(type='RandomFlip', prob=1.0), dict(type='PackInputs')]
train_dataloader = dict(
    batch_size=5, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(type='JsonMultiLabel', ann_file='train.json', pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=5, num_workers=0, sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='JsonMultiLabel', ann_file='test.json', pipeline=test_pipeline, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type='LabelSetMetric')
train_cfg = dict(by_epoch=True, max_epochs=2)
val_cfg = test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-2))
param_scheduler = dict(type='SawtoothLR')
model = dict(
    type='ImageClassifier',
    data_preprocessor=dict(mean=[127] * 3, std=[128] * 3, to_rgb=True),
    backbone=dict(type='StridedCNN', channels=(4, 8)),
    head=dict(type='OrderlessRNNHead', num_classes=3, in_channels=8, max_steps=4,
              decoder=dict(hidden_size=8, embed_size=4, attention_size=4),
              strategy='frequent_first'))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
custom_hooks = [
    dict(type='DeterministicResumeHook'), dict(type='TrainingContextHook'),
    dict(type='LabelSetReportHook'), dict(type='SWAHook')]
randomness = dict(seed=0)
val_split = 0.1
"""

SIZES = {"train": 20, "test": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two annotation files with their images, and the config."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, size in SIZES.items():
        records = []
        for i in range(size):
            pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{split}{i}.png")
            labels = np.flatnonzero(rng.random(3) < 0.5).tolist()
            records.append({"img_path": f"{split}{i}.png", "gt_label": labels})
        content = {"metainfo": {"classes": ["ant", "bee", "cat"]}, "data_list": records}
        (folder / f"{split}.json").write_text(json.dumps(content))
    (folder / "config.py").write_text(CONFIG)
    return folder


@pytest.fixture
def read(folder, monkeypatch):
    """Read the config with options, in the folder of the data."""
    monkeypatch.chdir(folder)
    return lambda **options: read_config("config.py", options)


def datasets(cfg):
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return [DATASETS.build(cfg[f"{x}_dataloader"].dataset) for x in ("train", "val", "test")]


def paths(dataset):
    return [dataset.get_data_info(i)["img_path"] for i in range(len(dataset))]


def test_a_tenth_of_the_training_set_is_held_out(read):
    kept, held_out, test = (paths(dataset) for dataset in datasets(read()))
    assert (len(kept), len(held_out)) == (18, 2)
    assert sorted(kept + held_out) == sorted(f"train{i}.png" for i in range(20))
    assert test == [f"test{i}.png" for i in range(4)]  # untouched
    again = [paths(dataset) for dataset in datasets(read())]
    assert again == [kept, held_out, test]
    # Drawn, not the first or the last ones.
    assert sorted(held_out) not in (["train0.png", "train1.png"], ["train18.png", "train19.png"])


@pytest.mark.parametrize("share, number", [(0.5, 10), (1 / 3, 6), (0.25, 5), (0.05, 1)])
def test_other_shares(read, share, number):
    kept, held_out, _ = datasets(read(val_split=share))
    assert (len(kept), len(held_out)) == (20 - number, number)


def test_held_out_images_use_the_validation_pipeline(read):
    kept, held_out, _ = datasets(read())
    for dataset, flipped in ((kept, True), (held_out, False)):
        for item in dataset:
            with Image.open(item["data_samples"].img_path) as picture:
                pixels = np.array(picture)[..., ::-1]  # BGR
            wanted = pixels[:, ::-1] if flipped else pixels
            assert np.array_equal(item["inputs"].permute(1, 2, 0).numpy(), wanted)


def test_too_few_images_to_hold_one_out(read):
    with pytest.raises(ValueError, match=r"has 20 images, too few for 100 parts.* raise val_split"):
        datasets(read(val_split=0.01))


def test_without_the_key_nothing_is_divided(read):
    cfg = read(val_split=None)
    assert [len(dataset) for dataset in datasets(cfg)] == [20, 4, 4]


def test_a_saved_config_is_not_divided_again(read, tmp_path):
    cfg = read()
    cfg.dump(tmp_path / "config.py")
    again = read_config(str(tmp_path / "config.py"))
    assert [len(dataset) for dataset in datasets(again)] == [18, 2, 4]
    assert again.val_split is None
    assert again.train_dataloader == cfg.train_dataloader


def test_one_dataloader_for_all_splits_is_divided_for_two(read):
    loader = read(val_split=None).train_dataloader
    cfg = Config(dict(train_dataloader=loader, val_dataloader=loader, test_dataloader=loader))
    cfg.dump("shared.py")
    assert [len(d) for d in datasets(read_config("shared.py", dict(val_split=0.1)))] == [18, 2, 20]


def test_a_repeated_training_set_is_divided_before_it_is_repeated(read):
    inner = read(val_split=None).train_dataloader.dataset
    repeated = dict(_delete_=True, type="RepeatDataset", times=3, dataset=inner)
    kept, held_out, _ = datasets(read(**{"train_dataloader.dataset": repeated}))
    assert (len(kept), len(held_out)) == (54, 2)
    assert not set(paths(kept)) & set(paths(held_out))


@pytest.mark.parametrize("share", [0, 1, 0.3, 0.333, 2, -0.1, "a tenth", [0.1], False, True])
def test_a_share_that_is_no_reciprocal(read, share):
    with pytest.raises(ValueError, match=r"val_split must be 1/k .* such as 0\.5, 0\.2 or 0\.1"):
        read(val_split=share)


def test_a_missing_dataloader(read):
    for name in ("train_dataloader", "val_dataloader"):
        with pytest.raises(ValueError, match=rf"val_split=0\.1 needs a {name} with a dataset, and"):
            read(**{name: None})
        with pytest.raises(ValueError, match=rf"needs a {name} with a dataset"):
            read(**{f"{name}.dataset": None})


def test_a_training_set_that_cannot_be_divided(read):
    inner = read(val_split=None).train_dataloader.dataset
    for dataset, kinds in (
        (dict(type="ConcatDataset", datasets=[inner, inner]), "ConcatDataset"),
        (dict(type="KFoldDataset", dataset=inner), "KFoldDataset of JsonMultiLabel"),
        (dict(type="DatasetPart", dataset=inner), "DatasetPart of JsonMultiLabel"),
        (dict(type="MultiTaskDataset", ann_file="a.json"), "MultiTaskDataset"),
    ):
        with pytest.raises(ValueError, match=f"val_split=0.1 cannot divide {kinds}; give"):
            read(**{"train_dataloader.dataset": {"_delete_": True, **dataset}})


@pytest.mark.parametrize("indices", [0, []])
def test_indices_that_leave_no_image(read, indices):
    for options in (dict(), dict(val_split=None)):
        options["train_dataloader.dataset.indices"] = indices
        with pytest.raises(ValueError, match=r"indices=(0|\[\]) of train_dataloader's .* no image"):
            read(**options)
    assert len(datasets(read(**{"test_dataloader.dataset.indices": 1}))[2]) == 1


def test_training_evaluation_and_prediction(read, tmp_path, monkeypatch):
    """With every hook that asks for the training set or the validation set."""
    kept, held_out, _ = datasets(read())
    counted = []
    fix_order = FixedOrderLoss.set_training_labels

    def note(loss, classes, counts, num_images):
        counted.append((counts.tolist(), num_images))
        fix_order(loss, classes, counts)

    monkeypatch.setattr(FixedOrderLoss, "set_training_labels", note)
    arguments = ["config.py", "--work-dir", str(tmp_path / "work")]
    runner = build_runner(training_config(parse_training_options(arguments)))
    runner.train()
    assert runner.iter == 8  # 18 images in batches of 5, twice
    # Frequent-first counts the part that it trains on.
    label_sets = [kept.get_data_info(i)["gt_label"] for i in range(len(kept))]
    assert counted == [(count_labels(label_sets, 3).tolist(), 18)]
    assert sorted(paths(runner.val_dataloader.dataset)) == sorted(paths(held_out))
    assert next(tmp_path.glob("work/*/label_sets/val_epoch_2/cooccurrence.png")).is_file()

    dumped, checkpoint = str(tmp_path / "work/config.py"), str(tmp_path / "work/epoch_2.pth")
    out = tmp_path / "metrics.json"
    evaluate([dumped, checkpoint, "--work-dir", str(tmp_path / "test"), "--out", str(out)])
    assert 0 <= json.loads(out.read_text())["set/OF1"] <= 100
    inferencer = OrderlessInferencer(dumped, checkpoint)
    assert len(inferencer("test0.png", progress=False)[0]["scores"]) == 3


def test_known_sets_are_those_of_the_part_that_is_trained_on(read, tmp_path):
    kept, _, _ = datasets(read())
    work = tmp_path / "work"
    arguments = ["config.py", "--work-dir", str(work), "--cfg-options", "method=known_sets"]
    build_runner(training_config(parse_training_options(arguments))).train()
    checkpoint = torch.load(work / "epoch_2.pth")
    state, raw = checkpoint["state_dict"], checkpoint["swa"]["raw"]
    found = zip(state["head.known_sets"].bool(), state["head.set_counts"])
    expected = Counter(tuple(kept.get_data_info(i)["gt_label"]) for i in range(len(kept)))
    assert {tuple(s.nonzero()[:, 0].tolist()): int(n) for s, n in found} == expected
    for name in ("known_sets", "set_counts"):  # the weights are averaged, the sets are not
        assert torch.equal(state[f"head.{name}"], raw[f"head.{name}"])
        assert state[f"head.{name}"].dtype == raw[f"head.{name}"].dtype
    assert not torch.equal(state["head.scalars"], raw["head.scalars"])

    dumped, out = str(work / "config.py"), tmp_path / "metrics.json"
    weights = str(work / "epoch_2.pth")
    evaluate([dumped, weights, "--work-dir", str(tmp_path / "test"), "--out", str(out)])
    assert json.loads(out.read_text())["set/duplicates"] == 0
    [result] = OrderlessInferencer(dumped, weights)("test0.png", progress=False)
    assert len(result["scores"]) == 3
    assert len(result["sequence"]) == len(result["names"])


def test_the_checker_shows_both_parts(read, capsys, monkeypatch):
    def drop_three(dataset):
        dataset.note_dropped("images not on disk", 3)
        return dataset.data_list

    published = Published("the whole", 20, labels=1)  # which the parts do not meet
    monkeypatch.setattr(JsonMultiLabel, "published", published, raising=False)
    monkeypatch.setattr(JsonMultiLabel, "filter_data", drop_three)
    assert check_dataset(["config.py"]) == 0
    output = capsys.readouterr().out
    for split, parts, images in (("train", "9 of 10 parts", 18), ("val", "1 of 10 parts", 2)):
        assert f"{split}: JsonMultiLabel, {parts}\n  images: {images}\n" in output
    assert "test: JsonMultiLabel\n  images: 4\n" in output
    assert output.count("a part of the whole, which has 20 images") == 3  # test is below 9 tenths
    assert output.count("dropped before it was divided: 3 images not on disk") == 2
    assert "image in two splits" not in output


def test_persons_of_one_photo_may_be_in_both_parts():
    """Examples are divided, not files; the same example in both would be a fault."""
    train, val = (
        Split(name, "WiderAttribute", images=["a.jpg"], examples=[example], is_part=True)
        for name, example in (("train", "a.jpg (0, 0, 5, 5)"), ("val", "a.jpg (9, 9, 12, 12)"))
    )
    compare_splits([train, val])
    assert not val.problems
    val.examples = train.examples
    compare_splits([train, val])
    assert list(val.problems) == ["image in two splits"]


def test_features_of_both_parts_are_cached(read, tmp_path):
    cfg = read()
    weights = {f"backbone.{k}": v for k, v in MODELS.build(cfg.model.backbone).state_dict().items()}
    torch.save(weights, tmp_path / "weights.pth")
    splits = cache_features(cfg, tmp_path / "cache", str(tmp_path / "weights.pth"))
    assert splits == ["train", "val", "test"]
    for split, dataset in zip(splits, datasets(cfg)):
        assert paths(CachedFeatures(str(tmp_path / "cache"), split)) == paths(dataset)


def test_cached_features_can_be_divided(tmp_path):
    """Each part gives its own images' features, although its indices begin at 0."""
    maps = np.arange(20, dtype=np.float32).reshape(20, 1, 1, 1)
    images = [{"img_path": f"{i}.png", "gt_label": []} for i in range(20)]
    write_split(tmp_path, "train", "key", images, ["ant"], [maps])
    loader = dict(dataset=dict(type="CachedFeatures", cache=str(tmp_path), split="train"))
    cfg = Config(dict(train_dataloader=loader, val_dataloader=loader, val_split=0.1))
    apply_val_split(cfg)
    values = set()
    for split in ("train", "val"):
        for item in DATASETS.build(cfg[f"{split}_dataloader"].dataset):
            value = int(item["inputs"])
            assert item["data_samples"].img_path == f"{value}.png"
            values.add(value)
    assert values == set(range(20))
