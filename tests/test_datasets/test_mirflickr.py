import json

import pytest

from mmorderless.datasets.faults import collect_faults
from mmorderless.datasets.mirflickr import CONCEPTS, RELEVANT, MIRFlickr25k

OTHER = 24000  # the image of the concepts that a test does not look at
BABY, BIRD, FOOD = (CONCEPTS.index(name) for name in ("baby", "bird", "food"))


def mirflickr(*args, **options):
    """The dataset, not serialized: collecting garbage for that is most of a small one's time."""
    return MIRFlickr25k(*args, serialize_data=False, **options)


@pytest.fixture
def root(tmp_path):
    """The original folder: 38 files, one number a line."""
    (tmp_path / "annotations").mkdir()
    numbers = {"baby": [3, 7], "baby_r1": [3], "bird": [7, 25000], "bird_r1": [7], "food": [2]}
    for name in [*CONCEPTS, *(f"{name}_r1" for name in RELEVANT)]:
        text = "".join(f"{number}\n" for number in numbers.get(name, [OTHER]))
        (tmp_path / f"annotations/{name}.txt").write_text(text)
    return tmp_path


def labels_of(dataset):
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    numbers = [int(info["img_path"].split("/im")[-1].removesuffix(".jpg")) for info in infos]
    return {number: info["gt_label"] for number, info in zip(numbers, infos)}


def test_24_concepts(root):
    dataset = mirflickr(str(root))
    labels = labels_of(dataset)
    assert dataset.metainfo["classes"] == CONCEPTS
    assert list(labels) == list(range(1, 25001))
    assert {number: y for number, y in labels.items() if y and number != OTHER} == {
        2: [FOOD],
        3: [BABY],
        7: [BABY, BIRD],
        25000: [BIRD],
    }
    assert dataset.get_data_info(6)["img_path"] == str(root / "mirflickr/im7.jpg")


def test_38_concepts(root):
    dataset = mirflickr(str(root), concepts=38, numbers=(3, 7))
    classes = dataset.metainfo["classes"]
    assert len(classes) == 38
    assert list(classes) == sorted(classes)
    names = {number: [classes[c] for c in y] for number, y in labels_of(dataset).items() if y}
    assert names == {3: ["baby", "baby_r1"], 7: ["baby", "bird", "bird_r1"]}


def test_classes_select_concepts(root):
    options = dict(concepts=38, numbers=(1, 7), classes=["bird_r1", "baby"], keep_unlabeled=False)
    assert labels_of(mirflickr(str(root), **options)) == {3: [1], 7: [0, 1]}


def test_numbers_from_a_file(root):
    (root / "train.txt").write_text("7\n\n2\r\n5")
    labels = labels_of(mirflickr(str(root), numbers="train.txt"))
    assert labels == {7: [BABY, BIRD], 2: [FOOD], 5: []}
    assert list(labels) == [7, 2, 5]


def test_images_that_are_not_on_disk(root):
    (root / "mirflickr").mkdir()
    for number in (2, 4):
        (root / f"mirflickr/im{number}.jpg").touch()
    dataset = mirflickr(str(root), numbers=(1, 10), drop_missing=True)
    assert labels_of(dataset) == {2: [FOOD], 4: []}
    assert dataset.dropped == {"images not on disk": 8}


@pytest.mark.parametrize(
    "text, rule",
    [
        ("3\nim7\n", r"baby\.txt, line 2: must be an image number in 1 … 25000, got 'im7'"),
        ("0\n", "line 1: must be an image number"),
        ("25001\n", "line 1: must be an image number"),
        ("3\n" + "9" * 5000 + "\n", "line 2: must be an image number"),
        ("3\n5\n3\n", "image 3 occurs twice"),
        ("", r"baby\.txt has no image number; it may be incomplete: download it again"),
        ("\n \n", r"baby\.txt has no image number"),
        ("Größe\n".encode("latin-1"), r"baby\.txt is not UTF-8"),
    ],
)
def test_wrong_lines(root, text, rule):
    content = text if isinstance(text, bytes) else text.encode()
    (root / "annotations/baby.txt").write_bytes(content)
    with pytest.raises(ValueError, match=rule) as error:
        mirflickr(str(root))
    assert "\n" not in str(error.value)


def test_a_cut_last_line_is_a_doubt(root):
    """Of image 12345 may be left 123."""
    (root / "annotations/baby.txt").write_text("3\n123")
    with collect_faults() as faults:
        dataset = mirflickr(str(root))
    assert labels_of(dataset)[123] == [BABY]
    (fault,) = faults
    assert "baby.txt: the last line, '123', has no line end, so the file may be incomplete" in fault


def test_missing_concept(root):
    (root / "annotations/tree_r1.txt").unlink()
    mirflickr(str(root))
    with pytest.raises(FileNotFoundError, match=r"tree_r1\.txt does not exist"):
        mirflickr(str(root), concepts=38)


def test_wrong_options(root):
    with pytest.raises(ValueError, match="24 or 38 concepts, got concepts=14"):
        mirflickr(str(root), concepts=14)
    for numbers in ((0, 5), (7, 3), (1, 25001), (1, 2, 3), 15000, (1, "9"), (0.5, 9), None):
        with pytest.raises(ValueError, match="numbers must be a file or the first and last image"):
            mirflickr(str(root), numbers=numbers)
    with pytest.raises(FileNotFoundError, match=r"none\.txt does not exist"):
        mirflickr(str(root), numbers="none.txt")


@pytest.mark.slow
def test_real_annotation_equals_the_json_made_of_it(shared_data):
    root = shared_data / "mirflickr25k_128"
    for split, numbers in (("train", (1, 15000)), ("val", (15001, 25000))):
        dataset = MIRFlickr25k(str(root), numbers, data_prefix=f"images/{split}", drop_missing=True)
        content = json.loads((root / f"{split}.json").read_text())
        assert list(dataset.metainfo["classes"]) == content["metainfo"]["classes"]
        assert [dataset.get_data_info(i)["gt_label"] for i in range(len(dataset))] == [
            record["gt_label"] for record in content["data_list"]
        ]
    stricter = MIRFlickr25k(str(root), concepts=38, classes=["baby_r1"])
    plain = {int(n) for n in (root / "annotations/baby_r1.txt").read_text().split()}
    assert {n for n, y in labels_of(stricter).items() if y} == plain
