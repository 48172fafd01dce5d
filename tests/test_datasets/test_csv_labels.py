import pytest

from mmorderless.datasets.csv_labels import CsvMultiLabel, read_label_names

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


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_rfc_4180(write, encoding, newline):
    lines = [
        "image,labels",
        '"a, b.jpg","sky, blue; ""high"" sea "',
        "c.jpg,",
        "",
        'Größe.jpg,"two',
        'lines;été"',
    ]
    rows = read_label_names(write(newline.join(lines).encode(encoding)))
    assert rows == [
        ("a, b.jpg", ["sky, blue", '"high" sea']),
        ("c.jpg", []),
        ("Größe.jpg", [f"two{newline}lines", "été"]),
    ]


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


def test_dropped_images_are_counted(write):
    assert CsvMultiLabel(write(TRAIN), keep_unlabeled=False).dropped == {"without a label": 1}


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


def test_paths_are_relative_to_the_csv_or_to_data_prefix(write, tmp_path):
    write(TRAIN, "lists/train.csv")
    root = {"data_root": str(tmp_path)}
    relative = CsvMultiLabel("lists/train.csv", **root)
    assert relative.get_data_info(0)["img_path"] == str(tmp_path / "lists" / "a.jpg")
    for prefix in ("images", {"img_path": "images"}):
        below = CsvMultiLabel("lists/train.csv", data_prefix=prefix, **root)
        assert below.get_data_info(0)["img_path"] == str(tmp_path / "images" / "a.jpg")


@pytest.mark.parametrize("serialize_data", [True, False])
def test_options_of_the_host(write, serialize_data):
    dataset = CsvMultiLabel(
        write(TRAIN),
        lazy_init=True,
        keep_unlabeled=False,
        indices=[1],
        serialize_data=serialize_data,
    )
    assert not dataset._fully_initialized
    dataset.full_init()
    assert labels_of(dataset) == [[0]]


@pytest.mark.parametrize(
    "content, rule",
    [
        ("", r"must start with the header image,labels, got \[\]"),
        ("image;labels\na.jpg;sky\n", r"header image,labels, got \['image;labels'\]"),
        ("image,labels\na.jpg,sky,sea\n", r"line 2: a row has two cells.*got 3"),
        ("image,labels\na.jpg\n", "line 2: a row has two cells.*got 1"),
        ("image,labels\na.jpg,sky;sea;sky\n", r"line 2: labels \['sky'\] of a.jpg occur twice"),
        ("image,labels\na.jpg,sky;;sea\n", "line 2: empty image path or label name"),
        ("image,labels\n,sky\n", "line 2: empty image path or label name"),
        ("image,labels\na.jpg,sky\na.jpg,sea\n", "image a.jpg has more than one row"),
        ('image,labels\na.jpg,"sky"sea\n', "line 2: .*quote cells as in RFC 4180"),
        ("image,labels\na.jpg,été\n".encode("latin-1"), "is not UTF-8.*save it as UTF-8"),
        ("image,labels\n", "no class names"),
        ("image,labels\na.jpg,\n", "no class names"),
    ],
)
def test_wrong_files(write, content, rule):
    with pytest.raises(ValueError, match=rule) as error:
        CsvMultiLabel(write(content))
    assert "train.csv" in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_files(write, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist; set data_root"):
        CsvMultiLabel(str(tmp_path / "none.csv"))
    with pytest.raises(FileNotFoundError, match=r"none\.csv does not exist"):
        CsvMultiLabel(write(VAL), classes_from=str(tmp_path / "none.csv"))
    with pytest.raises(FileNotFoundError, match=r"none\.txt does not exist; set `classes`"):
        CsvMultiLabel(write(VAL), classes="none.txt")
