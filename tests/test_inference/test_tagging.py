"""What a person decides about photos is kept in a CSV that the dataset reads."""

import csv
import os

import pytest
from mmpretrain.registry import DATASETS

from mmorderless.inference.tagging import TaggingSession, set_probability, shown_labels

CLASSES = ["ant", "bee", "naïve, cat", "dog"]


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    files = [tmp_path / "photos" / name for name in ("a.jpg", 'b, "ü".jpg', "c.jpg")]
    for file in files:
        file.touch()
    return [str(file) for file in files]


@pytest.fixture
def open_session(photos, tmp_path):
    return lambda images=photos: TaggingSession(images, CLASSES, tmp_path / "out" / "labels.csv")


def test_decisions_are_known_in_their_order_until_they_are_taken_back(open_session, photos):
    session = open_session()
    for label, verdict in (("dog", True), ("ant", True), ("bee", False)):
        session.decide(photos[0], label, verdict)
    assert session.known(photos[0]) == (["dog", "ant"], ["bee"])
    session.decide(photos[0], "dog", False)
    session.decide(photos[0], "bee", None)
    assert session.known(photos[0]) == (["ant"], ["dog"])
    assert session.known(photos[1]) == ([], [])
    with pytest.raises(ValueError, match="'cow' is not one of the model's 4 classes"):
        session.decide(photos[0], "cow", True)


def test_the_dataset_reads_what_was_saved_and_a_new_session_goes_on(open_session, photos):
    session = open_session()
    assert session.current == photos[0]
    session.save(photos[0], ["naïve, cat", "ant"])
    session.save(photos[1], [])
    dataset = DATASETS.build(
        dict(type="CsvMultiLabel", ann_file=str(session.file), classes=CLASSES, test_mode=True)
    )
    records = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [r["gt_label"] for r in records] == [[0, 2], []]
    assert [os.path.abspath(r["img_path"]) for r in records] == photos[:2]

    again = open_session()
    assert again.current == photos[2]
    assert again.saved == session.saved
    # All classes of a saved photo are decided.
    assert again.known(photos[0]) == (["naïve, cat", "ant"], ["bee", "dog"])
    again.decide(photos[0], "bee", True)
    again.save(photos[0], ["naïve, cat", "bee"])
    assert open_session().saved[photos[0]] == ["naïve, cat", "bee"]


def test_the_dataset_finds_the_photos_from_a_linked_folder(open_session, photos, tmp_path):
    (tmp_path / "elsewhere" / "out").mkdir(parents=True)
    (tmp_path / "out").symlink_to(tmp_path / "elsewhere" / "out")
    session = open_session()
    session.save(photos[0], ["dog"])
    assert open_session().saved == session.saved
    dataset = dict(type="CsvMultiLabel", ann_file=str(session.file), classes=CLASSES)
    [record] = DATASETS.build(dict(dataset, test_mode=True))
    assert os.path.samefile(record["img_path"], photos[0])


def test_rows_of_other_photos_are_kept(open_session, photos):
    open_session().save(photos[0], ["dog"])
    session = open_session(photos[1:])
    session.save(photos[2], ["bee"])
    with session.file.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["image", "labels"], ["../photos/a.jpg", "dog"], ["../photos/c.jpg", "bee"]]


def test_a_failed_write_changes_nothing(open_session, photos, tmp_path):
    session = open_session()
    session.save(photos[0], ["dog"])
    before = session.file.read_bytes()
    session.file = tmp_path / "photos" / "a.jpg" / "labels.csv"  # no folder
    with pytest.raises(OSError, match="cannot be written"):
        session.save(photos[1], ["bee"])
    assert session.saved == {photos[0]: ["dog"]}
    assert open_session().file.read_bytes() == before


def test_photos_follow_each_other_until_all_are_saved(open_session, photos):
    session = open_session([photos[1], photos[1], photos[0], photos[2]])
    assert session.images == [photos[1], photos[0], photos[2]]
    assert session.after(photos[2]) == photos[1]
    assert [session.before(photo) for photo in (photos[1], photos[0])] == [photos[1]] * 2
    assert session.before(None) == photos[2]
    session.sort({photos[0]: 0.5, photos[2]: 0.1})
    assert session.order == [photos[2], photos[0], photos[1]]
    assert session.current == photos[2]
    for photo in photos:
        session.save(photo, [])
    assert session.after(photos[0]) is None
    session.sort({})
    assert (session.order, session.current) == (session.images, None)


def test_errors(open_session, photos, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no photo gone\.jpg; check the path"):
        open_session([*photos, "gone.jpg"])
    blank = tmp_path / "photos" / "d.jpg "
    blank.touch()
    with pytest.raises(ValueError, match=r"'\.\./photos/d\.jpg ' cannot be written .*; rename it"):
        open_session([str(blank)])
    with pytest.raises(ValueError, match="'a;b' cannot be written"):
        TaggingSession(photos, ["a;b"], tmp_path / "labels.csv")
    file = tmp_path / "out" / "labels.csv"
    file.parent.mkdir()
    file.write_text("image,labels\na.jpg,cow;dog\n")
    with pytest.raises(ValueError, match=r"labels \['cow'\] in .*csv are not among the model's 4"):
        open_session()
    file.write_text("image,labels,ignore\na.jpg,dog,ant\n")
    with pytest.raises(ValueError, match=r"has a column `ignore`.*; move the file"):
        open_session()


def result(labels, probabilities, **fields):
    names = [CLASSES[c] for c in labels]
    return dict(labels=labels, names=names, probabilities=probabilities, sequence=None, **fields)


def test_labels_are_shown_in_the_order_of_emission_with_their_map():
    emitted = result([3, 0, 1], [1.0, 0.5, 0.7], attention=...)
    emitted["sequence"] = [3, 0, 0, 1]
    # One more label is confirmed than the model was given.
    shown = shown_labels(emitted, ["dog", "naïve, cat"])
    assert [tuple(label) for label in shown] == [
        ("dog", 1.0, True, 0),
        ("naïve, cat", 1.0, True, None),
        ("ant", 0.5, False, 1),
        ("bee", 0.7, False, 3),
    ]


def test_labels_of_other_models_are_shown_by_probability():
    shown = shown_labels(result([0, 1, 3], [0.6, 1.0, 0.9]), ["bee"])
    assert [tuple(label) for label in shown] == [
        ("bee", 1.0, True, None),
        ("dog", 0.9, False, None),
        ("ant", 0.6, False, None),
    ]


def test_probability_of_the_predicted_set():
    independent = result([0, 3], [0.9, 1.0], scores=[0.9, 0.0, 0.2, 1.0], given=[3])
    assert set_probability(independent) == pytest.approx(0.9 * 0.8)
    emitted = dict(sequence_probabilities=[0.1, 0.5, 0.8], end_probability=0.25)
    assert set_probability(emitted) == pytest.approx(0.1 * 0.5 * 0.8 * 0.25)
    assert set_probability({**emitted, "given": [2]}) == pytest.approx(0.5 * 0.8 * 0.25)
    assert set_probability(dict(sequence_probabilities=[], end_probability=0.3)) == 0.3
