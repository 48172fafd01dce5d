import re

import numpy as np
import pytest

from mmorderless.datasets.faults import collect_faults
from mmorderless.datasets.nus_wide import NUM_TRAIN, NusWide, draw_split, read_image_list

CONCEPTS = ["airport", "animal", "sky"]
# Name of the image, whether it is in the original training set, its concepts.
IMAGES = [
    ("actor\\0001_11.jpg", True, [0]),
    ("actor\\0002_22.jpg", False, []),
    ("zebra\\0001_33.jpg", True, []),
    ("zebra\\0003_44.jpg", False, [1, 2]),
    ("zebra\\0004_55.jpg", True, [2]),
    ("zebra\\0005_66.jpg", False, [0, 1, 2]),
]


def write_layout(root, images, concepts=CONCEPTS, end="\n"):
    """The original folders; `images` as above."""
    parts = {
        ("Imagelist.txt", "AllLabels", ""): images,
        ("TrainImagelist.txt", "TrainTestLabels", "_Train"): [x for x in images if x[1]],
        ("TestImagelist.txt", "TrainTestLabels", "_Test"): [x for x in images if not x[1]],
    }
    for folder in ("ConceptsList", "ImageList", *(f"Groundtruth/{key[1]}" for key in parts)):
        (root / folder).mkdir(parents=True, exist_ok=True)

    def write(path, lines):
        (root / path).write_text("".join(f"{line}{end}" for line in lines))

    write("ConceptsList/Concepts81.txt", concepts)
    for (image_list, folder, suffix), part in parts.items():
        write(f"ImageList/{image_list}", [name for name, _, _ in part])
        for c, concept in enumerate(concepts):
            lines = [int(c in labels) for _, _, labels in part]
            write(f"Groundtruth/{folder}/Labels_{concept}{suffix}.txt", lines)
    return str(root)


def nus_wide(*args, classes=CONCEPTS, **options):
    """The dataset, not serialized: collecting garbage for that is most of a small one's time."""
    return NusWide(*args, classes=classes, serialize_data=False, **options)


@pytest.fixture
def root(tmp_path):
    return write_layout(tmp_path, IMAGES)


def examples(dataset):
    """Name and labels of each image."""
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    return [(info["img_path"].split("Flickr/")[1], info["gt_label"]) for info in infos]


def test_official_split_keeps_the_unlabeled(root, tmp_path):
    train = nus_wide(root, "train", protocol="official")
    test = nus_wide(root, "test", protocol="official")
    assert examples(train) == [
        ("actor/0001_11.jpg", [0]),
        ("zebra/0001_33.jpg", []),
        ("zebra/0004_55.jpg", [2]),
    ]
    assert examples(test) == [
        ("actor/0002_22.jpg", []),
        ("zebra/0003_44.jpg", [1, 2]),
        ("zebra/0005_66.jpg", [0, 1, 2]),
    ]
    assert train.metainfo["classes"] == tuple(CONCEPTS)
    assert train.get_data_info(0)["img_path"] == str(tmp_path / "Flickr/actor/0001_11.jpg")


def test_official_labeled_drops_them(root):
    for split in ("train", "test"):
        every = examples(nus_wide(root, split, protocol="official"))
        labeled = examples(nus_wide(root, split, protocol="official_labeled"))
        assert labeled == [example for example in every if example[1]]
        assert len(labeled) == 2


@pytest.mark.parametrize("split_index", [0, 1, 2])
def test_paper_splits_divide_the_labeled_images(root, split_index):
    options = dict(protocol="paper", split_index=split_index, num_train=3)
    train, test = (examples(nus_wide(root, split, **options)) for split in ("train", "test"))
    assert len(train) == 3
    labeled = [(name.replace("\\", "/"), labels) for name, _, labels in IMAGES if labels]
    assert sorted(train + test) == sorted(labeled)
    again = examples(nus_wide(root, "train", **options))
    assert train == again


def test_paper_splits_depend_on_the_seed_alone():
    splits = [draw_split(1000, 700, seed=0, split_index=i) for i in range(3)]
    assert [split.sum() for split in splits] == [700] * 3
    for a, b in ((0, 1), (0, 2), (1, 2)):  # independent: they share 0.7 · 0.7 of the images
        assert (splits[a] & splits[b]).sum() == pytest.approx(490, abs=40)
    assert (draw_split(1000, 700, 1, 0) != splits[0]).any()
    np.random.seed(5)  # noqa: NPY002  (the global generator must not matter)
    assert (draw_split(1000, 700, 0, 2) == splits[2]).all()
    # Pinned: a published result names its split by the seed.
    assert np.flatnonzero(draw_split(12, 5, 0, 0)).tolist() == [1, 2, 3, 8, 11]
    assert np.flatnonzero(draw_split(12, 5, 7, 2)).tolist() == [4, 6, 8, 10, 11]


def test_the_papers_counts(root):
    with pytest.raises(ValueError, match="cannot draw 150000 training images of 4"):
        nus_wide(root)
    dataset = nus_wide(root, "test", num_train=1)
    dataset._metainfo["classes"] = tuple(map(str, range(81)))
    assert dataset.published is None  # a division of the user's own
    dataset.num_train = NUM_TRAIN
    assert dataset.published.images == 209_347 - 150_000


def test_split_does_not_depend_on_what_is_on_disk(root, tmp_path):
    options = dict(protocol="paper", num_train=3)
    every = examples(nus_wide(root, "train", **options))
    for name, _ in every[1:]:
        path = tmp_path / "Flickr" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert examples(nus_wide(root, "train", **options)) == every
    dataset = nus_wide(root, "train", **options, drop_missing=True)
    assert examples(dataset) == every[1:]
    assert dataset.dropped == {"images not on disk": 1}
    with pytest.raises(ValueError, match=r"none of 3 images is in .*elsewhere"):
        nus_wide(root, "train", **options, drop_missing=True, data_prefix="elsewhere")


def test_classes_select_concepts_but_not_images(root):
    dataset = nus_wide(root, "test", protocol="official_labeled", classes=["sky", "airport"])
    assert examples(dataset) == [("zebra/0003_44.jpg", [0]), ("zebra/0005_66.jpg", [0, 1])]
    assert dataset.metainfo["classes"] == ("sky", "airport")


def test_line_ends_of_windows(tmp_path):
    root = write_layout(tmp_path, IMAGES, end=" \r\n")
    assert len(examples(nus_wide(root, protocol="official"))) == 3


@pytest.mark.parametrize(
    "file, text, rule",
    [
        ("ImageList/TrainImagelist.txt", "a\\1.jpg\n" * 3, "image a/1.jpg is listed twice"),
        ("ImageList/TrainImagelist.txt", "a\\1.jpg\n", "a line for each of the 1 images .*, got 3"),
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "0\n1\n", "the 3 images .*, got 2"),
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "0\n2\n1\n", "line 2: .* got '2'"),
        ("Groundtruth/TrainTestLabels/Labels_sky_Train.txt", "0\n10\n1\n", "line 2: .* got '10'"),
        ("ConceptsList/Concepts81.txt", "", "no class names"),
        ("ImageList/TrainImagelist.txt", "a\\1.jpg\na\\2.jp\n", r"end in \.jpg, got 'a/2\.jp'"),
    ],
)
def test_wrong_files(root, tmp_path, file, text, rule):
    (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=rule) as error:
        nus_wide(root, protocol="official")
    assert "\n" not in str(error.value)


def test_a_concept_list_that_stops_early(tmp_path):
    concepts = [f"concept{c:02}" for c in range(81)]
    root = write_layout(tmp_path, IMAGES, concepts)
    assert nus_wide(root, protocol="official", classes=None).metainfo["classes"] == tuple(concepts)
    write_layout(tmp_path, IMAGES, concepts[:80])
    rule = r"Concepts81\.txt has 80 concepts, NUS-WIDE 81; it may be incomplete: download it again"
    with pytest.raises(ValueError, match=rf"{rule}; if the list is your own, .*`classes`"):
        nus_wide(root, protocol="official", classes=None)
    with collect_faults() as faults:
        nus_wide(root, protocol="official", classes=concepts[:80])
    (fault,) = faults
    assert re.search(rule, fault)


@pytest.mark.parametrize(
    "file",
    [
        "ConceptsList/Concepts81.txt",
        "ImageList/Imagelist.txt",
        "Groundtruth/AllLabels/Labels_sky.txt",
    ],
)
def test_missing_files(root, tmp_path, file):
    (tmp_path / file).unlink()
    with pytest.raises(FileNotFoundError, match="does not exist; set data_root to the folder with"):
        nus_wide(root, num_train=3)


def test_wrong_options(root):
    for options in (dict(split="val"), dict(protocol="random")):
        with pytest.raises(ValueError, match=r"unknown split .* or protocol .* of NUS-WIDE"):
            nus_wide(root, **options)
    for options in (dict(split_index=3), dict(seed=-1)):
        with pytest.raises(ValueError, match="needs split_index 0 … 2 and seed ≥ 0"):
            nus_wide(root, **options)
    with pytest.raises(ValueError, match=r"has no ann_file, got 'a\.txt'; remove it and set "):
        nus_wide(root, ann_file="a.txt")


def test_a_dead_link_names_the_option(root):
    pipeline = [{"type": "LoadImage"}]
    dataset = nus_wide(root, protocol="official", pipeline=pipeline)
    with pytest.raises(FileNotFoundError, match=r"_11\.jpg does not exist; .*drop_missing=True"):
        dataset[0]


def test_real_labels_in_the_official_layout(shared_data, tmp_path):
    folder = shared_data / "annotations/nuswide"
    concepts = (folder / "Concepts81_order.txt").read_text().split()
    rows = [line.split() for line in (folder / "nuswide_81_m_test.txt").read_text().splitlines()]
    labels = [np.flatnonzero(np.array(row[1:]) == "1").tolist() for row in rows]
    images = [
        (row[0].replace("images/", "images\\"), i % 5 > 1, y)
        for i, (row, y) in enumerate(zip(rows, labels))
    ]
    root = write_layout(tmp_path, images, concepts)
    assert NusWide(root, "train", protocol="official").metainfo["classes"] == tuple(concepts)
    expected = [(name.replace("\\", "/"), y) for name, in_train, y in images if in_train]
    assert examples(NusWide(root, "train", protocol="official")) == expected
    num_labeled = sum(bool(y) for y in labels)
    sizes = [len(NusWide(root, split, num_train=3000)) for split in ("train", "test")]
    assert sizes == [3000, num_labeled - 3000]


def test_real_image_list(shared_data):
    images = read_image_list(str(shared_data / "annotations/nuswide/TestImagelist_head2000.txt"))
    assert len(images) == 2000
    assert images[0] == "actor/0002_174174086.jpg"
