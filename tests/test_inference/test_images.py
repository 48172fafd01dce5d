"""Files, folders and arrays become single images in a fixed order."""

import numpy as np
import pytest

from mmorderless.inference.images import list_images


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("z.JPG", "a.png", "b/c.jpeg", "notes.txt"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_is_searched_with_its_subfolders_for_images_only(folder):
    expected = [str(folder / name) for name in ("a.png", "b/c.jpeg", "z.JPG")]
    assert list_images(folder) == list_images(str(folder)) == expected


def test_lists_are_flattened_in_the_order_given(folder):
    array = np.zeros((2, 3, 3), np.uint8)
    listed = list_images([str(folder / "z.JPG"), array, folder / "b", "gone.jpg"])
    assert listed[1] is array
    assert [listed[0], *listed[2:]] == [
        str(folder / "z.JPG"),
        str(folder / "b/c.jpeg"),
        "gone.jpg",
    ]


def test_a_single_array_is_one_image():
    array = np.zeros((3, 3, 3), np.uint8)
    assert len(list_images(array)) == 1


@pytest.mark.parametrize(
    "images, error, text",
    [
        ([], ValueError, "there are no images"),
        (np.zeros((2, 4, 4, 3)), ValueError, r"shape \(H, W, 3\), BGR; got \(2, 4, 4, 3\)"),
        (np.zeros((4, 4)), ValueError, r"got \(4, 4\)"),
        (3, TypeError, "path or an array, got int"),
    ],
)
def test_invalid_image_is_an_error(images, error, text):
    with pytest.raises(error, match=text):
        list_images(images)


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no image"):
        list_images(tmp_path)
