import pytest

from mmorderless.datasets.csv_labels import CsvMultiLabel
from mmorderless.datasets.faults import collect_faults

TRAIN = "image,labels\na.jpg,sea;sky\nb.jpg,\nc.jpg,boat\n"
VAL = "image,labels\nd.jpg,sky\n"


@pytest.fixture
def write(tmp_path):
    def write(content, name="train.csv"):
        content = content.encode() if isinstance(content, str) else content
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
        return str(tmp_path / name)

    return write


def labels_of(dataset):
    return [dataset.get_cat_ids(i) for i in range(len(dataset))]


def test_classes_are_the_sorted_names_of_the_training_file(write):
    dataset = CsvMultiLabel(write(TRAIN))
    assert dataset.metainfo["classes"] == ("boat", "sea", "sky")
    assert labels_of(dataset) == [[1, 2], [], [0]]


def test_windows_paths_and_urls(write, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.jpg").touch()
    dataset = CsvMultiLabel(
        write("image,labels\nimages\\a.jpg,sea\nhttps://example.com/b.jpg,sea\n")
    )
    paths = [dataset.get_data_info(i)["img_path"] for i in range(2)]
    assert paths == [str(tmp_path / "images/a.jpg"), "https://example.com/b.jpg"]


def test_other_splits_reuse_the_training_classes(write, tmp_path):
    write(TRAIN)
    write(VAL, "val.csv")
    val = CsvMultiLabel(
        "val.csv", data_root=str(tmp_path), classes_from="train.csv", test_mode=True
    )
    assert val.metainfo["classes"] == ("boat", "sea", "sky")
    assert labels_of(val) == [[2]]


def test_a_test_set_needs_the_training_classes(write):
    with pytest.raises(ValueError, match=r"set classes_from to the training CSV, or `classes`"):
        CsvMultiLabel(write(VAL), test_mode=True)


@pytest.mark.parametrize("as_file", [True, False])
def test_given_classes(write, as_file):
    classes = ["sky", "tree", "sea", "boat"]
    if as_file:
        classes = write("\ufeffsky\ntree\r\n\nsea\nboat\n", "classes.txt")
    dataset = CsvMultiLabel(write(TRAIN), classes=classes)
    assert dataset.metainfo["classes"] == ("sky", "tree", "sea", "boat")
    assert labels_of(dataset) == [[0, 2], [], [3]]


def test_unknown_name_is_an_error(write):
    train = write(TRAIN)
    with pytest.raises(ValueError, match=r"labels \['sun'\] of d\.jpg in .*val\.csv are not among"):
        CsvMultiLabel(write("image,labels\nd.jpg,sky;sun\n", "val.csv"), classes_from=train)


def test_columns_of_classes_keep_their_order(write):
    train = write("image,sky,boat\na.jpg,1,0\nb.jpg,1,1\nc.jpg,0,0\n")
    dataset = CsvMultiLabel(train)
    assert dataset.metainfo["classes"] == ("sky", "boat")
    assert labels_of(dataset) == [[0], [0, 1], []]
    val = CsvMultiLabel(write("image,labels\nd.jpg,boat\n", "val.csv"), classes_from=train)
    assert labels_of(val) == [[1]]


def test_doubtful_names_unless_the_classes_are_given(write):
    train = write('image,labels\na.jpg,"people,sky"\nb.jpg,people;sky\n')
    with collect_faults() as faults:
        assert len(CsvMultiLabel(train).metainfo["classes"]) == 3
    assert len(faults) == 1
    with collect_faults() as faults:
        CsvMultiLabel(train, classes=["people", "people,sky", "sky"])
    assert faults == []


def test_ignored_classes_reach_the_metric(write):
    """A label is judged even where it is ignored too."""
    pipeline = [{"type": "PackInputs", "algorithm_keys": ("gt_ignore",)}]
    content = "image,labels,ignore\na.jpg,sky,boat;sea\nb.jpg,sky;sea,sea\nc.jpg,,\n"
    dataset = CsvMultiLabel(write(content), pipeline=pipeline)
    assert dataset.metainfo["classes"] == ("boat", "sea", "sky")
    assert labels_of(dataset) == [[2], [1, 2], []]
    assert [dataset[i]["data_samples"].gt_ignore for i in range(3)] == [[0, 1], [], []]
    assert "gt_ignore" not in CsvMultiLabel(write(TRAIN)).get_data_info(0)


def test_paths_are_relative_to_the_csv_or_to_data_prefix(write, tmp_path):
    write(TRAIN, "lists/train.csv")
    root = {"data_root": str(tmp_path)}
    relative = CsvMultiLabel("lists/train.csv", **root)
    assert relative.get_data_info(0)["img_path"] == str(tmp_path / "lists" / "a.jpg")
    for prefix in ("images", {"img_path": "images"}):
        below = CsvMultiLabel("lists/train.csv", data_prefix=prefix, **root)
        assert below.get_data_info(0)["img_path"] == str(tmp_path / "images" / "a.jpg")


@pytest.mark.parametrize("content", ["image,labels\n", "image,labels\na.jpg,\n"])
def test_a_file_without_classes(write, content):
    with pytest.raises(ValueError, match=r"no class names in .*train\.csv"):
        CsvMultiLabel(write(content))


def test_missing_files(write, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist; set data_root"):
        CsvMultiLabel(str(tmp_path / "none.csv"))
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist"):
        CsvMultiLabel(write(VAL), classes_from=str(tmp_path / "none.csv"))
    with pytest.raises(FileNotFoundError, match=r"none\.txt does not exist; set `classes`"):
        CsvMultiLabel(write(VAL), classes="none.txt")
