"""Files, folders and arrays become single images in a fixed order."""

import io
import os

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mmorderless.inference import images
from mmorderless.inference.images import list_images


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("z.JPG", "a.png", "b/c.jpeg"):
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_is_searched_with_its_subfolders(folder):
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
    "image, error, text",
    [
        ([], ValueError, "there are no images"),
        (np.zeros((2, 4, 4, 3), np.uint8), ValueError, r"got \(2, 4, 4, 3\); .* as a list"),
        (np.zeros((3, 8, 8), np.uint8), ValueError, r"BGRA; got \(3, 8, 8\); move its axes"),
        (np.zeros((4, 4)), ValueError, r"uint8 values 0 … 255, got float64 of shape \(4, 4\)"),
        (np.zeros((0, 4), np.uint8), ValueError, r"got uint8 of shape \(0, 4\)"),
        (torch.zeros(8, 8, 3), ValueError, r"tensor must .* got \(8, 8, 3\); permute its axes"),
        (torch.zeros(2, 3, 4, 4), ValueError, r"got \(2, 3, 4, 4\); .* as a list"),
        (torch.zeros(3, 4, 5), ValueError, r"uint8 .* got torch.float32 of shape \(3, 4, 5\)"),
        (Image.new("I;16", (5, 4)), ValueError, r"uint8 .* got uint16 of shape \(4, 5\)"),
        (3, TypeError, "a picture of Pillow, got int; convert it"),
    ],
)
def test_invalid_image_is_an_error(image, error, text):
    with pytest.raises(error, match=text):
        list_images(image)


BGR = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
GRAY = np.repeat(BGR[..., :1], 3, axis=2)
RGB = BGR[..., ::-1].copy()


@pytest.mark.parametrize(
    "image, expected",
    [
        (GRAY[..., 0], GRAY),
        (GRAY[..., :1], GRAY),
        (np.dstack([BGR, BGR[..., 0]]), BGR),
        (torch.from_numpy(RGB).permute(2, 0, 1), BGR),
        (torch.from_numpy(np.dstack([RGB, BGR[..., 0]])).permute(2, 0, 1), BGR),
        (torch.from_numpy(GRAY[None, ..., 0].copy()), GRAY),
        (Image.fromarray(RGB), BGR),
        (Image.fromarray(np.dstack([RGB, BGR[..., 0]])), BGR),
        (Image.fromarray(GRAY[..., 0]), GRAY),
    ],
)
def test_pictures_in_memory_become_bgr_arrays(image, expected):
    (listed,) = list_images(image)
    np.testing.assert_array_equal(listed, expected)
    assert listed.flags.c_contiguous


def test_a_picture_of_pillow_is_turned_upright():
    file = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(RGB).save(file, "PNG", exif=exif)
    (listed,) = list_images(Image.open(file))
    np.testing.assert_array_equal(listed, np.rot90(BGR, -1))


def test_kinds_of_images_mix_in_a_list(folder):
    content = cv2.imencode(".png", BGR)[1].tobytes()
    address = "https://example.com/photos/1.jpg"
    listed = list_images((content, address, bytearray(content), Image.fromarray(RGB)))
    assert listed[:3] == [content, address, content]
    np.testing.assert_array_equal(listed[3], BGR)


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="holds no image"):
        list_images(tmp_path)
    for name in ("1.heic", "2.HEIC", "list.txt"):
        (tmp_path / name).touch()
    with pytest.raises(ValueError, match=r"but other files \(\.heic: 2, \.txt: 1\); give another"):
        list_images(tmp_path)


@pytest.fixture
def notes(monkeypatch):
    lines = []
    monkeypatch.setattr(images, "print_log", lambda line, **_: lines.append(line))
    return lines


def test_every_extension_that_opencv_decodes_is_taken(tmp_path, notes):
    names = [f"a{extension}" for extension in images.IMAGE_EXTENSIONS]
    for name in names:
        (tmp_path / name).touch()
    assert [os.path.basename(path) for path in list_images(tmp_path)] == sorted(names)
    assert {".jfif", ".jpe", ".ppm", ".jp2", ".avif"} <= set(images.IMAGE_EXTENSIONS)
    assert not notes


def test_hidden_files_are_left_out_and_other_files_counted(tmp_path, notes):
    (tmp_path / ".ipynb_checkpoints").mkdir()
    for name in ("a.jpg", "._a.jpg", ".ipynb_checkpoints/a-checkpoint.jpg", "b.heic", "README"):
        (tmp_path / name).touch()
    assert list_images(tmp_path) == [str(tmp_path / "a.jpg")]
    (note,) = notes
    assert note.startswith(f"{tmp_path}: 2 files passed over")
    assert ".heic: 1" in note
    assert "no extension: 1" in note


def test_links_are_followed_and_loops_end(tmp_path, notes):
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    for path in (photos, elsewhere):
        path.mkdir()
        (path / "a.jpg").touch()
    (photos / "b.jpg").symlink_to(elsewhere / "a.jpg")
    (photos / "linked").symlink_to(elsewhere)
    (photos / "linked_again").symlink_to(elsewhere)
    (photos / "loop").symlink_to(photos)
    expected = [str(photos / name) for name in ("a.jpg", "b.jpg", "linked/a.jpg")]
    assert list_images(photos) == expected
    assert not notes
