import numpy as np
import pytest

from mmorderless.datasets.cropping import CropBox, clip_box

HEIGHT, WIDTH = 6, 8


def crop(box, channels=(3,)):
    img = np.arange(HEIGHT * WIDTH * int(np.prod(channels))).reshape(HEIGHT, WIDTH, *channels)
    results = CropBox().transform({"img": img, "box": box, "img_path": "a.jpg"})
    return img, results


def test_crop_has_the_pixels_of_the_box():
    for channels in [(3,), ()]:
        img, results = crop((2, 1, 5, 4), channels)
        np.testing.assert_array_equal(results["img"], img[1:4, 2:5])
        assert results["img_shape"] == (3, 3)


@pytest.mark.parametrize(
    "box, rows, columns",
    [
        ((2.9, 1.2, 3.1, 1.3), slice(1, 2), slice(2, 4)),  # every pixel that the box touches
        ((-3.5, -1, 2, 2.5), slice(0, 3), slice(0, 2)),
        ((6.5, 4, 99, 99), slice(4, 6), slice(6, 8)),
        ((0, 0, WIDTH, HEIGHT), slice(0, 6), slice(0, 8)),
    ],
)
def test_boxes_are_clipped_to_the_image(box, rows, columns):
    img, results = crop(box)
    np.testing.assert_array_equal(results["img"], img[rows, columns])


@pytest.mark.parametrize("box", [(8, 0, 9, 3), (2, -4, 5, 0), (3, 3, 3, 5), (5, 1, 2, 3)])
def test_box_without_a_pixel(box):
    assert clip_box(box, HEIGHT, WIDTH) is None
    with pytest.raises(ValueError, match=r"of a\.jpg does not touch the image of 8×6 pixels"):
        crop(box)


def test_size_may_be_unknown():
    assert clip_box((-1, 2, 3000, 4000)) == (0, 2, 3000, 4000)
    assert clip_box((-5, 2, 0, 4)) is None
