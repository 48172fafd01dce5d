"""Features are read as they were written; an incomplete cache is not trusted."""

import io
import json
import os

import numpy as np
import pytest
import torch
from mmengine.dataset import default_collate
from mmpretrain.registry import DATASETS, MODELS
from torch.utils.data import DataLoader

from mmorderless.datasets import cached_features
from mmorderless.datasets.cached_features import CachedFeatures, read_index, write_split

CLASSES = ["ant", "bee", "cat"]
LABELS = [[0, 2], [], [1], [0, 1, 2], [2]]
FEATURES = np.random.default_rng(0).standard_normal((5, 7, 2, 3)).astype(np.float32)
IMAGES = [{"img_path": f"{i}.jpg", "gt_label": labels} for i, labels in enumerate(LABELS)]


@pytest.fixture
def cache(tmp_path):
    write_split(tmp_path, "train", "k", IMAGES, CLASSES, [FEATURES[:3], FEATURES[3:]])
    return tmp_path


def test_groups_of_classes_are_kept(tmp_path, cache):
    assert CachedFeatures(str(cache), "train").metainfo["groups"] == {}
    groups = {"insects": [0, 1], "mammals": [2]}
    write_split(tmp_path, "val", "k", IMAGES, CLASSES, [FEATURES], groups=groups)
    assert CachedFeatures(str(tmp_path), "val").metainfo["groups"] == groups


def test_items_are_the_features_in_half_precision_with_their_labels(cache):
    dataset = DATASETS.build(dict(type="CachedFeatures", cache=str(cache), split="train"))
    assert len(dataset) == 5
    assert dataset.metainfo["classes"] == tuple(CLASSES)
    for i, item in enumerate(dataset):
        assert item["inputs"].dtype == torch.float16
        assert torch.equal(item["inputs"], torch.from_numpy(FEATURES[i]).half())
        sample = item["data_samples"]
        assert sample.gt_label.dtype == torch.int64
        assert sample.gt_label.tolist() == LABELS[i] == dataset.get_cat_ids(i)
        assert (sample.img_path, sample.sample_idx) == (f"{i}.jpg", i)


def test_the_models_preprocessor_makes_a_float32_batch(cache):
    dataset = CachedFeatures(str(cache), "train")
    preprocessor = MODELS.build(dict(type="ClsDataPreprocessor"))
    batch = preprocessor(default_collate([dataset[i] for i in range(5)]), training=True)
    assert batch["inputs"].dtype == torch.float32
    assert torch.equal(batch["inputs"], torch.from_numpy(FEATURES).half().float())
    assert [sample.gt_label.tolist() for sample in batch["data_samples"]] == LABELS


def test_workers_read_the_same_features(cache):
    dataset = CachedFeatures(str(cache), "train")
    dataset[0]  # opens the file in this process
    loader = DataLoader(dataset, batch_size=2, num_workers=2, collate_fn=default_collate)
    inputs = torch.cat([batch["inputs"] for batch in loader])
    assert torch.equal(inputs, torch.from_numpy(FEATURES).half())


def test_labels_that_are_not_judged_are_kept(tmp_path):
    images = [{**IMAGES[0], "gt_ignore": [1]}, IMAGES[1]]
    write_split(tmp_path, "train", "k", images, CLASSES, [FEATURES[:2]])
    first, second = (item["data_samples"] for item in CachedFeatures(str(tmp_path), "train"))
    assert first.gt_ignore == [1]
    assert "gt_ignore" not in second


def test_missing_split_names_the_command(cache):
    with pytest.raises(FileNotFoundError, match=r"split 'test'.*python tools/cache_features\.py"):
        CachedFeatures(str(cache), "test")


def test_interrupted_writing_leaves_no_split(tmp_path):
    def batches():
        yield FEATURES[:3]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_split(tmp_path, "train", "k", IMAGES, CLASSES, batches())
    assert read_index(tmp_path, "train") is None
    # The next run writes over what was left.
    write_split(tmp_path, "train", "k", IMAGES, CLASSES, [FEATURES])
    assert read_index(tmp_path, "train")["shape"] == [5, 7, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["train.json", "train.npy"]


def test_features_that_overflow_float16_are_an_error(tmp_path):
    huge = FEATURES.copy()
    huge[4] = 1e6
    with pytest.raises(
        ValueError, match=r"images 3 to 4 have .* not finite in float16 \(largest 1e\+06"
    ):
        write_split(tmp_path, "train", "k", IMAGES, CLASSES, [FEATURES[:3], huge[3:]])
    assert read_index(tmp_path, "train") is None


def test_too_few_features_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="features of 3 images for 5"):
        write_split(tmp_path, "train", "k", IMAGES, CLASSES, [FEATURES[:3]])


def test_another_version_is_an_error(cache):
    index = json.loads((cache / "train.json").read_text())
    (cache / "train.json").write_text(json.dumps({**index, "version": 0}))
    with pytest.raises(ValueError, match=rf"version 0, this package reads.*{remedy(cache)}"):
        CachedFeatures(str(cache), "train")


def remedy(cache):
    return f"; delete the folder {cache} and run tools/cache_features.py again$"


INDEX_CHANGES = {
    "another label": lambda index: index["images"][0].update(gt_label=[1]),
    "fewer rows": lambda index: index["images"].append(dict(IMAGES[0])),
    "another shape": lambda index: index.update(shape=[5, 7, 3, 2]),
    "no key": lambda index: index.pop("key"),
    "no checksum": lambda index: index.pop("checksum"),
}


@pytest.mark.parametrize("change", INDEX_CHANGES.values(), ids=list(INDEX_CHANGES))
def test_a_changed_index_is_an_error(cache, change):
    index = json.loads((cache / "train.json").read_text())
    change(index)
    (cache / "train.json").write_text(json.dumps(index))
    message = f"^{cache}/train.json does not have the checksum that it names{remedy(cache)}"
    with pytest.raises(ValueError, match=message):
        CachedFeatures(str(cache), "train")


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2', "[" * 100_000, "\xff"])
def test_an_index_that_is_no_json_object_is_an_error(cache, text):
    (cache / "train.json").write_text(text, encoding="latin-1")
    message = f"^{cache}/train.json is not the JSON object that was written{remedy(cache)}"
    with pytest.raises(ValueError, match=message):
        CachedFeatures(str(cache), "train")


def saved(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


FEATURES_CHANGES = {
    "truncated": lambda content: content[:-2],
    "empty": lambda content: b"",
    "flipped bit": lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
    "flipped header": lambda content: content[:20] + bytes([content[20] ^ 1]) + content[21:],
    "another type": lambda content: saved(FEATURES),
}


@pytest.mark.parametrize("change", FEATURES_CHANGES.values(), ids=list(FEATURES_CHANGES))
def test_changed_features_are_an_error(cache, change):
    file = cache / "train.npy"
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(ValueError, match=rf"^{file} has .* expected 548 with .*{remedy(cache)}"):
        CachedFeatures(str(cache), "train")


def test_features_truncated_while_they_are_used_are_an_error(cache):
    """With a memory map the process would end with SIGBUS."""
    dataset = CachedFeatures(str(cache), "train")
    dataset[4]
    os.truncate(cache / "train.npy", 540)
    with pytest.raises(ValueError, match=f"^{cache}/train.npy was truncated.*{remedy(cache)}"):
        dataset[4]


@pytest.mark.parametrize("labels", [[-1], [3], [0, 0], ["ant"], [0.5]])
def test_wrong_labels_are_not_written(tmp_path, labels):
    images = [{"img_path": "0.jpg", "gt_label": labels}]
    with pytest.raises(ValueError, match=r"^labels of 0\.jpg must be .* of the split 'train'; "):
        write_split(tmp_path, "train", "k", images, CLASSES, [FEATURES[:1]])
    assert list(tmp_path.iterdir()) == []


def test_maps_of_different_sizes_are_an_error(tmp_path):
    batches = [FEATURES[:3], FEATURES[3:, :, :1, :1]]
    with pytest.raises(ValueError, match=r"images 3 to 4 have maps of shape \(7, 1, 1\), .*resize"):
        write_split(tmp_path, "train", "k", IMAGES, CLASSES, batches)


def test_the_features_are_a_file_of_numpy(cache):
    features = np.load(cache / "train.npy")
    assert features.dtype == np.float16
    assert np.array_equal(features, FEATURES.astype(np.float16))


def test_the_log_describes_the_features(cache, monkeypatch):
    lines = []
    monkeypatch.setattr(cached_features, "print_log", lambda line, **_: lines.append(line))
    CachedFeatures(str(cache), "train")
    write_split(cache, "train", "0123456789abcdef", IMAGES, CLASSES, [FEATURES], "b.pth")
    CachedFeatures(str(cache), "train")
    what = f"CachedFeatures: split 'train' of {cache}, 5 maps of 7×2×3, weights"
    assert lines == [f"{what} not recorded, key k", f"{what} b.pth, key 0123456789ab"]


def test_a_subset_gives_its_own_images_features(cache):
    subset = CachedFeatures(str(cache), "train")
    subset.get_subset_([3, 1])
    for item, row in zip(subset, (3, 1)):
        assert torch.equal(item["inputs"], torch.from_numpy(FEATURES[row]).half())
        assert item["data_samples"].gt_label.tolist() == LABELS[row]
