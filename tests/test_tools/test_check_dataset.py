"""The checker on faulty files written here, and on the real ones."""

import json
import re

import cv2
import numpy as np
import pytest

from mmorderless.commands.check_dataset import main
from mmorderless.datasets import inspection
from mmorderless.datasets.annotations import Published
from mmorderless.datasets.inspection import Split, compare_published

SPLIT = """
{split}_dataloader = dict(dataset=dict({wrap}
    type='JsonMultiLabel', data_root='{root}', ann_file='{ann_file}', keep_unlabeled=True){close})
"""


@pytest.fixture
def write(tmp_path):
    """Write a split's JSON file and its images; `images` are (name, labels)."""

    def write(split, images, classes=("ant", "bee", "cat")):
        for name, _ in images:
            pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / name), pixels)
        records = [{"img_path": name, "gt_label": labels} for name, labels in images]
        content = {"metainfo": {"classes": list(classes)}, "data_list": records}
        (tmp_path / f"{split}.json").write_text(json.dumps(content))

    return write


@pytest.fixture
def check(tmp_path, capsys):
    """Run the checker on train.json and val.json; returns its exit code and output."""

    def check(*arguments, wrapper=None, test="val"):
        text = ""
        for split, ann_file in (("train", "train"), ("val", "val"), ("test", test)):
            wrap = f"type='{wrapper}', times=3, dataset=dict(" if wrapper else ""
            text += SPLIT.format(
                split=split,
                root=tmp_path,
                ann_file=f"{ann_file}.json",
                wrap=wrap,
                close=")" if wrapper else "",
            )
        (tmp_path / "config.py").write_text(text)
        code = main([str(tmp_path / "config.py"), *arguments])
        return code, capsys.readouterr().out

    return check


def problems(output):
    """The kinds of problems with their numbers, and the lines below them."""
    text = output.split("\nproblems: ")[1]
    kinds = dict(re.findall(r"^(\S.*): ([\d,]+)$", text, flags=re.MULTILINE))
    return kinds, [line.strip() for line in text.splitlines() if line.startswith("  ")]


def test_description_of_a_split(write, check):
    write("train", [("0.jpg", [0, 2]), ("1.jpg", []), ("2.jpg", [0]), ("3.jpg", [2, 0])])
    write("val", [("4.jpg", [1]), ("5.jpg", [0])])
    code, output = check("--images")
    assert code == 0
    train, val = re.split(r"\n\n", output.split("\ntrain: ")[1])[:2]
    assert train.splitlines() == [
        "JsonMultiLabel",
        "  images: 4",
        "  labels: 5 (1.25 per image, at most 2)",
        "  distinct label sets: 3",
        "  labels per image:",
        "      0         1 #########################",
        "      1         1 #########################",
        "      2         2 ##################################################",
        "  images per class (3 classes):",
        "    ant 3, bee 0, cat 2",
        "  warning: classes without an image: bee",
    ]
    assert val.startswith("val and test: JsonMultiLabel\n  images: 2\n")
    assert "  distinct label sets: 2; 50.0 % of the images have one of train's\n" in val
    assert "problems: 0" in output
    assert "100%" in output  # the progress bar


def test_every_fault_of_a_file_is_listed(write, check, tmp_path):
    write(
        "train",
        [
            ("0.jpg", [0, 3]),
            ("1.jpg", [1, 1]),
            ("2.jpg", "ant"),
            ("3.jpg", [-1, 2]),
            ("4.jpg", [0]),
            ("4.jpg", [0]),
        ],
    )
    write("val", [("5.jpg", [0]), ("4.jpg", [0])], classes=("ant", "cat", "bee"))
    (tmp_path / "0.jpg").unlink()
    (tmp_path / "1.jpg").write_bytes(b"")
    content = (tmp_path / "2.jpg").read_bytes()
    (tmp_path / "2.jpg").write_bytes(content[: len(content) // 2])

    code, output = check()
    assert code == 1
    kinds, listed = problems(output)
    assert kinds == {
        "train, annotation": "4",
        "train, repeated image": "1",
        "train, image files": "2",  # what is cut off is seen by decoding it
        "val and test, image in two splits": "1",
        "val and test, classes": "1",
    }
    for pattern in (
        r"labels of 0\.jpg must be in 0 … 2",
        r"labels of 1\.jpg must be distinct",
        r"labels of 2\.jpg must be a list of class indices, got 'ant'",
        r"labels of 3\.jpg must be in 0 … 2 .* got \[-1, 2\]",
        r"4\.jpg occurs more than once",
        r"0\.jpg does not exist",
        r"1\.jpg is empty",
        r"4\.jpg is in train too",
        r"class 1 is 'cat' instead of 'bee'",
    ):
        assert len([line for line in listed if re.search(pattern, line)]) == 1
    # What is right in a faulty entry is kept.
    assert "ant 3, bee 1, cat 1" in output

    kinds, listed = problems(check("--images")[1])
    assert kinds["train, image files"] == "3"
    assert any(re.search(r"2\.jpg .* is truncated or not an image", line) for line in listed)
    assert "train, image files" not in problems(check("--labels-only")[1])[0]


def test_a_file_that_cannot_be_used_does_not_hide_the_others(write, check, tmp_path):
    write("val", [("5.jpg", [7])])
    code, output = check(test="test")
    kinds, listed = problems(output)
    assert code == 1
    assert kinds == {"train, dataset": "1", "val, annotation": "1", "test, dataset": "1"}
    assert "train.json does not exist; set data_root" in listed[0]
    assert "train: JsonMultiLabel, no image could be read" in output


def test_long_lists_are_cut_unless_all_are_wanted(write, check, tmp_path):
    write("train", [(f"{i}.jpg", [0]) for i in range(30)])
    write("val", [("x.jpg", [0])])
    for i in range(25):
        (tmp_path / f"{i}.jpg").unlink()
    output = check()[1]
    assert problems(output)[0] == {"train, image files": "25"}
    assert "… and 15 more (--all lists them)" in output
    assert len(problems(output)[1]) == 11
    assert len(problems(check("--all", "--workers", "1")[1])[1]) == 25


def test_a_folder_with_the_name_of_an_image(write, check, tmp_path):
    write("train", [("0.jpg", [0])])
    write("val", [("1.jpg", [0])])
    (tmp_path / "0.jpg").unlink()
    (tmp_path / "0.jpg").mkdir()
    for arguments, fault in (
        ([], "opened: Is a directory$"),
        (["--images"], "read: Is a directory; "),
    ):
        _, listed = problems(check(*arguments)[1])
        assert re.search(rf"^image \S*0\.jpg'? cannot be {fault}", listed[0])


def test_long_lists_of_classes_are_wrapped(write, check):
    classes = [f"class number {c}" for c in range(40)]
    write("train", [("0.jpg", [7])], classes)
    write("val", [("1.jpg", [7])], classes)
    output = check()[1]
    assert max(map(len, output.splitlines())) <= 100
    absent = output.split("without an image: ")[1].split("\n\n")[0]
    assert " ".join(absent.split()) == ", ".join(x for x in classes if x != "class number 7")
    assert all(line.strip().startswith("class ") for line in absent.splitlines())


@pytest.mark.parametrize("max_steps, faults", [(3, 1), (4, 0)])
def test_label_sets_must_fit_into_the_steps_of_the_head(write, check, tmp_path, max_steps, faults):
    """Those of training: the steps hold three labels and END."""
    write("train", [("0.jpg", [0]), ("1.jpg", [0, 1, 2])])
    write("val", [("2.jpg", [0, 1, 2])])
    code, output = check("--cfg-options", f"model.head.max_steps={max_steps}")
    assert code == faults
    if faults:
        kinds, listed = problems(output)
        assert kinds == {"train, max_steps": "1"}
        assert re.search(
            r"1\.jpg has 3 labels, which .* into max_steps=3; set .* to 4 or more", listed[0]
        )


def test_a_training_split_without_any_label_is_a_problem(write, check):
    write("train", [("0.jpg", []), ("1.jpg", [])])
    write("val", [("2.jpg", [])])
    code, output = check()
    assert code == 1
    kinds, listed = problems(output)
    assert kinds == {"train, labels": "1"}
    assert listed[0].startswith("no image of split train has one of the 3 labels")
    assert "  warning: classes without an image: ant, bee, cat" in output


def test_dropped_images_are_counted(write, check):
    write("train", [("0.jpg", [0]), ("1.jpg", [])])
    write("val", [("2.jpg", [0])])
    options = ("--cfg-options", "train_dataloader.dataset.keep_unlabeled=False")
    code, output = check(*options)
    assert code == 0
    assert "  images: 1\n" in output
    assert "  dropped: 1 without a label\n" in output


def test_names_that_cannot_be_printed(write, check, tmp_path):
    """A file name in Latin-1, as JSON can write it, and one with a line break."""
    write("train", [("0.jpg", [0])])
    write("val", [("1.jpg", [0])])
    content = json.loads((tmp_path / "val.json").read_text())
    content["data_list"] = [
        {"img_path": name, "gt_label": [0]} for name in ("caf\udce9.jpg", "a\nb.jpg")
    ]
    (tmp_path / "val.json").write_text(json.dumps(content))
    _, listed = problems(check()[1])
    assert [line.split(" does not exist")[0] for line in listed] == [
        rf"image {tmp_path}/caf\udce9.jpg",
        f"image {tmp_path}/a b.jpg",
    ]


def test_repeating_wrappers_are_unwrapped(write, check):
    write("train", [("0.jpg", [0]), ("1.jpg", [1])])
    write("val", [("2.jpg", [0])])
    code, output = check(wrapper="RepeatDataset")
    assert code == 0
    assert "train: JsonMultiLabel\n  images: 2\n" in output


def test_published_counts():
    def compare(num_images, published, labels=(0, 1), dropped=0):
        split = Split("train", "X", images=["a"] * num_images, published=published)
        split.labels = [list(labels)] * num_images
        split.dropped = {"images not on disk": dropped}
        return compare_published(split), split.problems.get("published counts", [])

    assert compare(100, None) == (None, [])
    exact = Published("X train", 100, 200, 2)
    assert compare(100, exact) == ("X train: the published counts are met", [])
    assert compare(98, exact, dropped=2)[1] == ["X train has 200 labels, found 196"]
    assert compare(98, Published("X", 100), dropped=2) == (
        "X: the published counts are met, counting 2 dropped",
        [],
    )
    assert compare(99, Published("X", 100)) == ("X: differs", ["X has 100 images, found 99"])
    assert compare(100, exact, labels=[1])[1] == [
        "X train has 200 labels, found 100",
        "X train has 2 labels of an image at most, found 1",
    ]
    assert compare(80, exact) == ("a part of X train, which has 100 images", [])
    approximate = Published("X", 1000, approximate=True)
    assert compare(991, approximate)[1] == []
    assert compare(1012, approximate)[1] == ["X has 1,000 images, found 1,012"]


def test_the_full_coco_is_recognized_by_its_file(tmp_path, monkeypatch):
    """The numbers themselves; 82,783 images are not written here."""
    from mmorderless.datasets import coco

    name = "instances_train2014.json"
    assert coco.PUBLISHED[name] == Published("COCO train2014", 82_783, 241_035, 18)
    assert coco.PUBLISHED["instances_val2014.json"].images == 40_504
    content = {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in range(3)],
        "categories": [{"id": i, "name": f"c{i}"} for i in range(80)],
        "annotations": [{"image_id": i, "category_id": 7} for i in range(2)],
    }
    (tmp_path / name).write_text(json.dumps(content))
    dataset = coco.CocoMultiLabel(name, data_root=str(tmp_path))
    assert dataset.published.images == 82_783
    assert dataset.dropped == {"without a label": 1}
    assert coco.CocoMultiLabel(name, data_root=str(tmp_path), classes=["c7"]).published is None


def test_wrong_calls(tmp_path, check, write):
    (tmp_path / "empty.py").write_text("model = dict()")
    with pytest.raises(ValueError, match="has no train_, val_ or test_dataloader to check"):
        main([str(tmp_path / "empty.py")])
    with pytest.raises(FileNotFoundError, match="there is no config"):
        main([str(tmp_path / "none.py")])
    with pytest.raises(ValueError, match="--workers must be at least 1, got 0"):
        check("--workers", "0")


def test_program_errors_are_not_reported_as_faults_of_the_data(write, check, monkeypatch):
    write("train", [("0.jpg", [0])])

    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(inspection, "add_records", fail)
    with pytest.raises(ZeroDivisionError):
        check()


def real(repository, capsys, config, *arguments, **datasets):
    """Check a shipped config with its datasets' options changed."""
    options = [
        f"{split}_dataloader.dataset.{name}={value}"
        for split in ("train", "val", "test")
        for name, value in {**datasets.get("every", {}), **datasets.get(split, {})}.items()
    ]
    config = str(repository / f"configs/_base_/datasets/{config}.py")
    code = main([config, *arguments, "--cfg-options", *options])
    return code, capsys.readouterr().out


def test_real_coco(repository, shared_data, capsys):
    val = {"ann_file": "annotations/instances_val.json"}
    code, output = real(
        repository,
        capsys,
        "coco",
        "--images",
        every={"data_root": shared_data / "coco_sub", "data_prefix.img_path": "images"},
        train={"ann_file": "annotations/instances_train.json"},
        val=val,
        test=val,
    )
    assert code == 0
    assert "images: 2,553" in output
    assert "val and test: CocoMultiLabel\n  images: 600\n" in output
    assert "classes without an image: hair drier" in output


@pytest.mark.slow
def test_real_pa100k(repository, shared_data, capsys):
    every = {"data_root": shared_data / "pa100k_sub"}
    code, output = real(repository, capsys, "pa100k", every=every)
    assert code == 0
    assert "a part of PA-100K train, which has 80,000 images" in output

    folder = shared_data / "annotations/pa100k"
    every = {"data_root": folder}
    code, output = real(repository, capsys, "pa100k", "--labels-only", every=every)
    assert code == 0
    assert output.count("the published counts are met") == 3

    every["ann_file"] = "annotation_off_by_one.mat"
    code, output = real(repository, capsys, "pa100k", "--labels-only", every=every)
    assert code == 1
    kinds, listed = problems(output)
    assert kinds == {"train, annotation": "2", "val, image in two splits": "1"}
    assert "001600.jpg (train, row 1600) has no attribute at all" in listed[0]
    assert "001600.jpg is in train and in val" in listed[1]
    assert "data/001600.jpg is in train too" in listed[2]


@pytest.mark.slow
def test_real_mirflickr(repository, shared_data, capsys):
    root = shared_data / "mirflickr25k_128"
    code, output = real(repository, capsys, "photos", every={"data_root": root})
    assert code == 0
    assert "images: 7,683" in output
    code, from_annotation = real(
        repository,
        capsys,
        "mirflickr",
        every={"data_root": root, "drop_missing": True},
        train={"data_prefix": "images/train"},
        val={"data_prefix": "images/val"},
        test={"data_prefix": "images/val"},
    )
    assert code == 0
    assert "dropped: 7,317 images not on disk" in from_annotation
    per_class = re.compile(r"images per class.*?(?=\n\n)", flags=re.DOTALL)
    assert per_class.findall(from_annotation) == per_class.findall(output)


def test_voc(repository, tmp_path, capsys):
    """Pascal's own folders; objects marked difficult do not count, names must be classes."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    objects = {"000001": [("dog", 0), ("person", 0), ("dog", 0)], "000002": [("cat", 1)]}
    for name, found in objects.items():
        cv2.imwrite(str(tmp_path / f"JPEGImages/{name}.jpg"), np.zeros((8, 8, 3), np.uint8))
        text = "".join(
            f"<object><name>{label}</name><difficult>{difficult}</difficult></object>"
            for label, difficult in found
        )
        (tmp_path / f"Annotations/{name}.xml").write_text(f"<annotation>{text}</annotation>")
    (tmp_path / "ImageSets/Main/trainval.txt").write_text("000001\n")
    (tmp_path / "ImageSets/Main/test.txt").write_text("000002\n")
    code, output = real(repository, capsys, "voc2007", "--images", every={"data_root": tmp_path})
    assert code == 0
    assert "train: VocMultiLabel\n  images: 1\n  labels: 2 (2.00 per image, at most 2)" in output
    assert "val and test: VocMultiLabel\n  images: 1\n  labels: 0 " in output
    wrong = "<annotation><object><name>hound</name></object></annotation>"
    (tmp_path / "Annotations/000001.xml").write_text(wrong)
    code, output = real(repository, capsys, "voc2007", "--images", every={"data_root": tmp_path})
    assert code == 1
    assert "has objects named ['hound']" in output


def test_the_tool(project):
    """As a user calls it; an image is missing."""
    (project.folder / "val/3.png").unlink()
    done = project.run("check_dataset.py", "tiny.py")
    assert done.returncode == 1
    assert "train: JsonMultiLabel\n  images: 20\n" in done.stdout
    assert "problems: 1\nval and test, image files: 1\n" in done.stdout
