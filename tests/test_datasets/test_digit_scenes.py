import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pytest
from mmpretrain.registry import DATASETS
from PIL import Image

from mmorderless.datasets import digit_drawing, digit_scenes
from mmorderless.datasets.digit_drawing import (
    AFFINITY,
    CLASSES,
    FRIENDS,
    NUM_LABELS_SHARE,
    POPULARITY,
    RIVALS,
    draw_label_set,
    draw_positions,
    draw_scene,
    draw_sizes,
)
from mmorderless.datasets.digit_scenes import DigitScenes, instances_of_split, load_instances


def generator(seed=0):
    return np.random.Generator(np.random.PCG64(seed))


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def instances():
    return load_instances()


@pytest.fixture(scope="module")
def presence() -> np.ndarray:
    """Draw 5,000 label sets, as a boolean matrix of the ten digits."""
    rng = generator()
    presence = np.zeros((5000, 10), dtype=bool)
    for row in presence:
        row[draw_label_set(rng)] = True
    return presence


def test_instances_of_the_splits_are_disjoint(instances):
    ink, digits = instances
    train, test = (instances_of_split(digits, split) for split in ("train", "test"))
    for digit in range(10):
        assert set(digits[train[digit]]) == set(digits[test[digit]]) == {digit}
    train, test = np.concatenate(train), np.concatenate(test)
    assert sorted([*train, *test]) == list(range(len(digits)))
    assert not {ink[i].tobytes() for i in train} & {ink[i].tobytes() for i in test}


def test_number_of_labels_has_the_documented_shares(presence):
    shares = np.bincount(presence.sum(axis=1)) / len(presence)
    assert len(shares) == 7
    np.testing.assert_allclose(shares, NUM_LABELS_SHARE, atol=0.03)
    assert shares[0] > 0


def test_frequencies_have_a_long_tail(presence):
    counts = presence.sum(axis=0)
    assert 7 < counts.max() / counts.min() < 15
    ranks = [np.argsort(np.argsort(values)) for values in (counts, POPULARITY)]
    assert np.corrcoef(ranks)[0, 1] > 0.9


def test_friends_attract_and_rivals_repel(presence):
    together = presence.T.astype(float) @ presence / len(presence)
    alone = presence.mean(axis=0)
    lift = together / np.outer(alone, alone)
    strangers = lift[np.triu(AFFINITY == 1)]
    assert min(lift[pair] for pair in FRIENDS) > np.median(strangers) + 0.2
    assert max(lift[pair] for pair in RIVALS) < np.median(strangers) - 0.2


@pytest.mark.parametrize("size", [32, 48, 96])
def test_digits_lie_inside_the_scene_and_vary_in_size(size):
    rng = generator()
    overlap = []
    for count in range(8):
        for _ in range(30):
            boxes = draw_sizes(count, size, rng)
            places = draw_positions(boxes, size, rng)
            assert boxes.shape == places.shape == (count, 2)
            assert (places >= 0).all()
            assert (places + boxes <= size).all()
            if count == 2:
                common = np.minimum(*(places + boxes)) - np.maximum(*places)
                overlap.append(np.clip(common, 0, None).prod() > 0)
    assert np.mean(overlap) < 0.1
    heights = np.concatenate([draw_sizes(1, size, rng)[:, 0] for _ in range(300)])
    assert heights.min() < 0.28 * size
    assert heights.max() > 0.42 * size


def test_a_scene_shows_its_labels(instances):
    """Against the same scene from blank paper: pixels differ where digits are, and only then."""
    ink, digits = instances
    pools = instances_of_split(digits, "train")
    changed = []
    for seed in range(40):
        scene, labels = draw_scene(ink, pools, 48, generator(seed))
        blank, same_labels = draw_scene(np.zeros_like(ink), pools, 48, generator(seed))
        assert labels == same_labels == sorted(set(labels))
        assert scene.shape == (48, 48, 3)
        assert scene.dtype == np.uint8
        changed.append((len(labels), int((scene != blank).any(axis=2).sum())))
    for count, pixels in changed:
        assert (pixels == 0) == (count == 0)
        assert pixels >= 20 * count


def test_some_scenes_repeat_a_digit(instances, monkeypatch):
    ink, digits = instances
    pools = instances_of_split(digits, "train")
    shown = []
    monkeypatch.setattr(
        digit_drawing,
        "draw_sizes",
        lambda count, size, rng: shown.append(count) or draw_sizes(count, size, rng),
    )
    extra = []
    for seed in range(150):
        _, labels = draw_scene(ink, pools, 48, generator(seed))
        extra.append(shown[-1] - len(labels))
    assert set(extra) == {0, 1}
    assert 0.05 < np.mean(extra) < 0.3


def test_same_files_from_the_same_seed(tmp_path):
    first, again, other = (
        DigitScenes(num_scenes=30, seed=seed, data_root=str(tmp_path / name))
        for name, seed in (("first", 1), ("again", 1), ("other", 2))
    )
    files = files_of(Path(first.img_prefix))
    assert len(files) == 31
    assert files_of(Path(again.img_prefix)) == files
    assert files_of(Path(other.img_prefix)) != files


def test_first_scenes_do_not_depend_on_how_many_follow(tmp_path):
    few, many = (DigitScenes(num_scenes=n, data_root=str(tmp_path)) for n in (5, 9))
    for i in range(5):
        few_info, many_info = few.get_data_info(i), many.get_data_info(i)
        assert few_info["gt_label"] == many_info["gt_label"]
        assert Path(few_info["img_path"]).read_bytes() == Path(many_info["img_path"]).read_bytes()


def test_each_parameter_has_its_own_folder(tmp_path, monkeypatch):
    options = [{}, {"split": "test"}, {"num_scenes": 3}, {"size": 40}, {"seed": 1}]
    folders = {
        DigitScenes(**{"num_scenes": 2, **o}, data_root=str(tmp_path)).img_prefix for o in options
    }
    monkeypatch.setattr(digit_scenes, "VERSION", digit_scenes.VERSION + 1)
    folders.add(DigitScenes(num_scenes=2, data_root=str(tmp_path)).img_prefix)
    assert len(folders) == len(options) + 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        Path(folder).name for folder in folders
    )


def test_as_a_dataset(tmp_path):
    config = {
        "type": "DigitScenes",
        "split": "test",
        "num_scenes": 12,
        "data_root": str(tmp_path),
        "pipeline": [{"type": "LoadImage"}, {"type": "PackInputs"}],
        "test_mode": True,
        "indices": 10,
        "lazy_init": True,
    }
    dataset = DATASETS.build(config)
    assert not list(tmp_path.iterdir()), "nothing is drawn before it is needed"
    assert dataset.metainfo["classes"] == CLASSES
    dataset.full_init()
    assert len(dataset) == 10
    info, sample = dataset.get_data_info(3), dataset[3]
    stored = np.asarray(Image.open(info["img_path"]))
    np.testing.assert_array_equal(sample["inputs"].numpy()[::-1].transpose(1, 2, 0), stored)
    assert sample["data_samples"].gt_label.tolist() == info["gt_label"] == dataset.get_cat_ids(3)


def test_cache_is_read_without_scikit_learn(tmp_path, monkeypatch):
    drawn = DigitScenes(num_scenes=4, data_root=str(tmp_path))
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert len(DigitScenes(num_scenes=4, data_root=str(tmp_path))) == len(drawn)
    with pytest.raises(ImportError, match=r"pip install mmorderless\[quickstart\]"):
        DigitScenes(num_scenes=5, data_root=str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [Path(drawn.img_prefix).name]


def test_an_interrupted_drawing_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(digit_scenes, "draw_scene", interrupted)
    with pytest.raises(KeyboardInterrupt):
        DigitScenes(num_scenes=4, data_root=str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_the_slower_of_two_reads_what_the_faster_wrote(tmp_path, monkeypatch):
    faster = DigitScenes(num_scenes=4, data_root=str(tmp_path / "a"))
    write_scenes = digit_scenes.write_scenes

    def overtaken(folder, *args):
        write_scenes(folder, *args)
        target = tmp_path / "b" / Path(faster.img_prefix).name
        Path(faster.img_prefix).rename(target)

    monkeypatch.setattr(digit_scenes, "write_scenes", overtaken)
    slower = DigitScenes(num_scenes=4, data_root=str(tmp_path / "b"))
    assert len(slower) == 4
    assert [path.name for path in (tmp_path / "b").iterdir()] == [Path(slower.img_prefix).name]


def _draw(root, barrier, results):
    barrier.wait()
    data = DigitScenes(num_scenes=60, data_root=root)
    results.put([data.get_cat_ids(i) for i in range(len(data))])


def test_two_processes_at_once(tmp_path):
    context = multiprocessing.get_context("fork")  # a fresh start would import for seconds
    barrier, results = context.Barrier(2), context.Queue()
    root = tmp_path / "cache"
    both = [
        context.Process(target=_draw, args=(str(root), barrier, results), daemon=True)
        for _ in range(2)
    ]
    for process in both:
        process.start()
    labels = [results.get(timeout=600) for _ in both]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    alone = DigitScenes(num_scenes=60, data_root=str(tmp_path / "alone"))
    assert labels == [[alone.get_cat_ids(i) for i in range(60)]] * 2
    assert [path.name for path in root.iterdir()] == [Path(alone.img_prefix).name]
    assert files_of(root / Path(alone.img_prefix).name) == files_of(Path(alone.img_prefix))


@pytest.mark.parametrize(
    "options, rule",
    [
        ({"split": "val"}, "unknown split 'val' of the digit scenes; choose train or test"),
        ({"num_scenes": 0}, "num_scenes ≥ 1.*got num_scenes=0"),
        ({"size": 16}, "size ≥ 32.*size=16"),
        ({"seed": -1}, "seed ≥ 0.*seed=-1"),
    ],
)
def test_wrong_options(options, rule, tmp_path):
    with pytest.raises(ValueError, match=rule):
        DigitScenes(**options, data_root=str(tmp_path))
