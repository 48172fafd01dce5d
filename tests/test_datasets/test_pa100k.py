import subprocess
import sys

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from mmorderless.datasets.faults import collect_faults
from mmorderless.datasets.pa100k import PA100K, read_annotation

ATTRIBUTES = ["Female", "AgeOver60", "Hat"]
LABELS = {
    "train": [[1, 0, 1], [0, 1, 0], [1, 1, 1]],
    "val": [[0, 0, 1]],
    "test": [[1, 0, 0], [0, 1, 1]],
}


def pa100k(*args, **options):
    """The dataset, not serialized: collecting garbage for that is most of a small one's time."""
    return PA100K(*args, serialize_data=False, **options)


def cells(texts):
    """A MATLAB cell array of shape (N, 1), each cell holding a text."""
    array = np.empty((len(texts), 1), dtype=object)
    array[:, 0] = texts
    return array


def content(**changed):
    """The original keys and types: cells of names, uint8 labels."""
    fields = {"attributes": cells(ATTRIBUTES)}
    number = 0
    for part, labels in LABELS.items():
        names = [f"{number + i + 1:06d}.jpg" for i in range(len(labels))]
        number += len(labels)
        fields[f"{part}_images_name"] = cells(names)
        fields[f"{part}_label"] = np.array(labels, dtype=np.uint8)
    fields.update(changed)
    return {name: value for name, value in fields.items() if value is not None}


@pytest.fixture
def write(tmp_path):
    def write(**changed):
        savemat(tmp_path / "annotation.mat", content(**changed), do_compression=True)
        return str(tmp_path)

    return write


def labels_of(dataset):
    return [dataset.get_cat_ids(i) for i in range(len(dataset))]


def test_splits(write, tmp_path):
    root = write()
    sets = {split: pa100k(root, split) for split in ("train", "val", "test", "trainval")}
    assert labels_of(sets["train"]) == [[0, 2], [1], [0, 1, 2]]
    assert labels_of(sets["trainval"]) == [*labels_of(sets["train"]), *labels_of(sets["val"])]
    assert labels_of(sets["test"]) == [[0], [1, 2]]
    assert sets["test"].get_data_info(0)["img_path"] == str(tmp_path / "data/000005.jpg")
    assert sets["val"].metainfo["classes"] == tuple(ATTRIBUTES)
    with pytest.raises(ValueError, match=r"unknown split 'all' of PA-100K; choose from \['train'"):
        pa100k(root, "all")


def test_classes_select_attributes(write):
    root = write()
    dataset = pa100k(root, "trainval", classes=["Hat", "AgeOver60"])
    assert dataset.metainfo["classes"] == ("Hat", "AgeOver60")
    assert labels_of(dataset) == [[0], [1], [0, 1], [0]]
    kept = pa100k(root, "test", classes=["AgeOver60"])
    assert labels_of(kept) == [[], [0]]
    assert labels_of(pa100k(root, "test", classes=["AgeOver60"], keep_unlabeled=False)) == [[0]]


@pytest.mark.parametrize(
    "changed, rule",
    [
        ({"val_label": None}, "lacks val_label; give PA-100K's own annotation.mat"),
        ({"attributes": cells(["Hat", "Hat", "Bag"])}, r"\['Hat'\] occur twice"),
        ({"attributes": np.eye(3)}, "attributes must be a cell array of texts"),
        ({"val_images_name": cells([np.arange(3)])}, "val_images_name must be a cell array"),
        (
            {"val_label": np.ones((2, 3))},
            r"val_label must have the shape .* \(1, 3\), got \(2, 3\)",
        ),
        (
            {"val_label": np.ones((1, 2))},
            r"val_label must have the shape .* \(1, 3\), got \(1, 2\)",
        ),
        ({"val_label": cells(["1", "0"])}, "val_label must have the shape .*, got None"),
        ({"val_label": np.array([[0, 1, np.nan]])}, r"must be 0 or 1, got \[0\.0, 1\.0, nan\]"),
        (
            {"val_images_name": cells([" "])},
            "val_images_name must be a cell array of texts, got ' '",
        ),
        ({"val_label": np.array([[0, 2, 1]])}, r"000004\.jpg \(val, row 1\) must be 0 or 1, got"),
        ({"val_label": np.zeros((1, 3))}, r"000004\.jpg \(val, row 1\) has no attribute at all"),
        ({"val_images_name": cells(["000003.jpg"])}, r"000003\.jpg is in train and in val"),
        ({"test_images_name": cells(["9.jpg", "9.jpg"])}, r"9\.jpg occurs twice in test"),
    ],
)
def test_damaged_files(write, changed, rule):
    with pytest.raises(ValueError, match=rule) as error:
        pa100k(write(**changed), "train")
    assert "annotation.mat" in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(write, tmp_path):
    with pytest.raises(FileNotFoundError, match="set data_root and ann_file"):
        pa100k(str(tmp_path))
    write()
    path = tmp_path / "annotation.mat"
    whole = path.read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\n"
    for damaged in (b"", b"a,b\n", pointer, whole[: len(whole) // 2], whole[:-9]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="download it again") as error:
            pa100k(str(tmp_path))
        assert "\n" not in str(error.value)


@pytest.mark.slow
def test_real_labels_of_all_images(shared_data):
    path = shared_data / "annotations/pa100k/annotation.mat"
    attributes, parts = read_annotation(str(path))
    plain = loadmat(path)
    assert len(attributes) == 26
    assert attributes[:3] == ("Female", "AgeOver60", "Age18-60")
    assert {part: len(names) for part, (names, _) in parts.items()} == {
        "train": 80_000,
        "val": 10_000,
        "test": 10_000,
    }
    np.testing.assert_array_equal(parts["test"][1], plain["test_label"])
    dataset = PA100K(str(path.parent), "val")
    assert labels_of(dataset)[7] == np.flatnonzero(plain["val_label"][7]).tolist()
    assert dataset.get_data_info(0)["img_path"].endswith("data/080001.jpg")
    assert dataset.published.images == len(dataset) == 10_000


MEMORY = """
import sys
from mmorderless.datasets import PA100K

def peak():  # of this process alone, in kilobytes
    lines = open('/proc/self/status').read().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith('VmHWM')))

before = peak()
sets = [PA100K(sys.argv[1], split) for split in ('trainval', 'test')]
print(sum(map(len, sets)), peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_all_real_rows_take_little_memory(shared_data, repository):
    """In a process of its own, whose peak no other test has raised."""
    command = [sys.executable, "-c", MEMORY, str(shared_data / "annotations/pa100k")]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=True)
    rows, kilobytes = map(int, done.stdout.split()[-2:])
    assert rows == 100_000
    assert kilobytes < 500_000


def test_real_photos(shared_data):
    pipeline = [{"type": "LoadImage"}, {"type": "PackInputs"}]
    dataset = PA100K(str(shared_data / "pa100k_sub"), "test", pipeline=pipeline)
    assert len(dataset) == 200
    sample = dataset[0]
    assert sample["inputs"].shape[0] == 3
    assert sample["data_samples"].gt_label.tolist() == labels_of(dataset)[0]


def test_real_damaged_file_is_an_error(shared_data):
    folder = shared_data / "annotations/pa100k"
    for split in ("train", "val", "test"):
        with pytest.raises(ValueError, match=r"001600\.jpg \(train, row 1600\) has no attribute"):
            PA100K(str(folder), split, ann_file="annotation_off_by_one.mat")
    with collect_faults() as faults:
        PA100K(str(folder), "val", ann_file="annotation_off_by_one.mat")
    assert ["has no attribute" in faults[0], "is in train and in val" in faults[1]] == [True, True]
    assert len(faults) == 2
