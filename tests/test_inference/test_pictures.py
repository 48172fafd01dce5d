"""Every image is drawn with its labels, in any process."""

import cv2
import numpy as np
import pytest
from matplotlib.font_manager import fontManager

from mmorderless.figures.label_sets import annotated_image
from mmorderless.inference import pictures
from mmorderless.inference.pictures import distinct_stems, draw_pictures

CLASSES = ["cat", "bee", "dog", "ant"]


def result(path):
    names = ["ant", "bee"]
    return {"image": str(path), "labels": [3, 1], "names": names, "probabilities": [0.9, 0.25]}


def write(path, height, width):
    y, x = np.mgrid[:height, :width] / max(height, width)
    pixels = (255 * np.stack([x, y, 1 - x], axis=2)).astype(np.uint8)
    path.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(path), pixels, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return path


@pytest.fixture
def images(tmp_path):
    return [
        write(tmp_path / "a" / "1.jpg", 30, 40),
        write(tmp_path / "a" / "2.png", 50, 20),
        write(tmp_path / "b" / "1.jpg", 40, 40),
    ]


def test_images_with_the_same_name_get_distinct_pictures():
    paths = ["a/1.jpg", "b/1.png", "1_2.jpg", "c/1.jpg", "2.jpg"]
    assert distinct_stems(paths) == ["1", "1_2", "1_2_2", "1_3", "2"]


def test_workers_draw_the_same_pictures(tmp_path, images):
    drawn = {}
    for workers in (0, 2):
        results = [result(path) for path in images]
        results.insert(1, {"image": "gone.jpg", "error": "gone"})
        draw_pictures(results, CLASSES, tmp_path / f"pictures{workers}", workers)
        paths = [each.get("picture") for each in results]
        names = ("1.png", "2.png", "1_2.png")
        assert paths == [f"pictures{workers}/{name}" for name in names[:1]] + [None] + [
            f"pictures{workers}/{name}" for name in names[1:]
        ]
        assert len(list((tmp_path / f"pictures{workers}").iterdir())) == 3
        drawn[workers] = [cv2.imread(str(tmp_path / path)) for path in paths if path]
    for alone, by_worker in zip(drawn[0], drawn[2]):
        np.testing.assert_array_equal(alone, by_worker)


def test_a_large_photo_looks_like_a_small_one(tmp_path):
    pictures = []
    for name, size in (("small", 400), ("large", 1600)):
        results = [result(write(tmp_path / "photos" / f"{name}.jpg", 3 * size // 4, size))]
        draw_pictures(results, CLASSES, tmp_path)
        pictures.append(cv2.imread(str(tmp_path / f"{name}.png")).astype(int))
    assert pictures[0].shape == pictures[1].shape
    assert np.abs(pictures[0] - pictures[1]).mean() < 1


@pytest.mark.parametrize("workers", [0, 1])
def test_image_deleted_after_prediction_has_no_picture(tmp_path, images, workers):
    """The predictions are kept."""
    results = [result(path) for path in images]
    images[1].unlink()
    (error,) = draw_pictures(results, CLASSES, tmp_path / "pictures", workers)
    assert "2.png does not exist" in error
    assert "\n" not in error
    assert ["picture" in drawn for drawn in results] == [True, False, True]


def test_class_names_that_no_font_has_are_drawn_as_numbers(tmp_path, images, monkeypatch):
    fonts = [font for font in fontManager.ttflist if font.name.startswith("DejaVu")]
    monkeypatch.setattr(fontManager, "ttflist", fonts)
    drawn = []
    figure = annotated_image(np.zeros((8, 8, 3), np.uint8), ["ant"], [0.5])

    def draw(picture, names, probabilities, num_given, excluded_names):
        drawn.append((names, num_given, excluded_names))
        return figure

    monkeypatch.setattr(pictures, "annotated_image", draw)
    results = [result(images[0]), {**result(images[1]), "labels": [0, 1], "given": [0]}]
    results[0]["excluded"] = [0, 2]
    with pytest.warns(UserWarning, match="numbers of these classes") as warned:
        draw_pictures(results, ["猫", *CLASSES[1:]], tmp_path / "pictures")
    assert len(warned) == 1
    assert drawn == [(["ant", "bee"], 0, ["0", "dog"]), (["0", "bee"], 1, [])]


def test_nothing_to_draw(tmp_path):
    results = [{"image": "gone.jpg", "error": "gone"}]
    assert draw_pictures(results, CLASSES, tmp_path / "pictures") == []
    assert results == [{"image": "gone.jpg", "error": "gone"}]
    assert list((tmp_path / "pictures").iterdir()) == []
