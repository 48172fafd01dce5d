"""The augmentation of the shipped configs: the paper's transforms, within the stated bounds."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import TRANSFORMS

import mmorderless.datasets  # noqa: F401  (registers)
from mmorderless.engine.seeding import SeededFetch, SeededIndex

NAMES = ["coco", "nuswide", "wider_attribute", "pa100k", "mirflickr", "voc2007", "photos"]
SIDE = 100  # 3 % of it are 3 pixels
DRAWS = 300


@pytest.fixture(params=NAMES)
def pipeline(request, repository):
    """The train pipeline's steps by type, without reading, cropping and packing."""
    cfg = Config.fromfile(repository / f"configs/_base_/datasets/{request.param}.py")
    types = [step.type for step in cfg.train_pipeline]
    assert types[-7:] == [
        "Resize",
        "NumpyToPIL",
        "torchvision/RandomAffine",
        "torchvision/ColorJitter",
        "PILToNumpy",
        "RandomFlip",
        "PackInputs",
    ]
    read = ["LoadImage", "CropBox"] if request.param == "wider_attribute" else ["LoadImage"]
    assert types[:-7] == read
    # Apart from the random steps, training and testing see the same.
    random = types[-6:-1]
    assert [step for step in cfg.train_pipeline if step.type not in random] == cfg.test_pipeline
    return {step.type: TRANSFORMS.build(step) for step in cfg.train_pipeline[len(read) : -1]}


def apply(steps, image):
    results = {"img": image, "img_shape": image.shape[:2], "ori_shape": image.shape[:2]}
    for step in steps:
        results = step(results)
    return results["img"]


@pytest.fixture(autouse=True)
def _seeds():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - mmcv's transforms draw from it


def test_an_image_keeps_its_colors_and_gets_the_exact_size(pipeline, request):
    """OpenCV's order, BGR, goes in and comes out; the aspect ratio is not kept."""
    red = np.zeros((40, 90, 3), np.uint8)
    red[..., 2] = 255
    result = apply(pipeline.values(), red)
    width, height = pipeline["Resize"].scale
    assert (width, height) in [(288, 288), (224, 224), (128, 128)]
    assert result.shape == (height, width, 3)
    assert result.dtype == np.uint8
    blue, green, red = result[height // 2, width // 2].tolist()
    # Contrast mixes in the mean gray, here 76: at most a quarter of it.
    assert red >= 191 + 19
    assert max(blue, green) <= 76 // 4


def test_translation_moves_at_most_three_percent_of_each_side(pipeline):
    steps = [pipeline[t] for t in ("NumpyToPIL", "torchvision/RandomAffine", "PILToNumpy")]
    image = np.zeros((SIDE, 2 * SIDE, 3), np.uint8)
    image[50, 100] = 255
    shifts = set()
    for _ in range(DRAWS):
        rows, columns = np.nonzero(apply(steps, image)[..., 0])
        # One pixel remains one pixel: nothing is scaled, turned or sheared.
        shifts.add((rows.item() - 50, columns.item() - 100))
    down, right = (set(axis) for axis in zip(*shifts))
    assert down == set(range(-3, 4))
    assert right == set(range(-6, 7))


def test_contrast_changes_by_at_most_a_quarter(pipeline):
    steps = [pipeline[t] for t in ("NumpyToPIL", "torchvision/ColorJitter", "PILToNumpy")]
    image = np.zeros((4, 4, 3), np.uint8)
    image[:, :2], image[:, 2:] = 40, 200  # their mean stays 120
    factors = []
    for _ in range(DRAWS):
        dark, bright = apply(steps, image)[0, [0, 2], 0].astype(float)
        factors.append((bright - dark) / 160)
        assert (dark + bright) / 2 == pytest.approx(120, abs=1)
    rounding = 1 / 160
    assert 0.75 - rounding <= min(factors) < 0.77
    assert 1.23 < max(factors) <= 1.25 + rounding


def test_half_of_the_images_are_flipped_from_left_to_right(pipeline):
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    flipped = 0
    for _ in range(DRAWS):
        result = apply([pipeline["RandomFlip"]], image)
        assert np.array_equal(result, image) or np.array_equal(result, image[:, ::-1])
        flipped += not np.array_equal(result, image)
    assert 120 < flipped < 180  # 3.5 standard deviations


def test_a_sample_depends_only_on_seed_epoch_and_index(pipeline):
    class Images:
        def __getitem__(self, index):
            return apply(pipeline.values(), images[index].copy())

    images = np.random.default_rng(0).integers(0, 256, (2, 40, 60, 3), dtype=np.uint8)
    first, second = SeededFetch(Images(), 3)([SeededIndex(0, 5, 0), SeededIndex(1, 5, 0)])
    torch.rand(7)
    assert np.array_equal(SeededFetch(Images(), 3)([SeededIndex(0, 5, 0)])[0], first)
    assert np.array_equal(SeededFetch(Images(), 3)([SeededIndex(1, 5, 0)])[0], second)
    for seed, draw in ((3, SeededIndex(0, 6, 0)), (4, SeededIndex(0, 5, 0))):
        assert not np.array_equal(SeededFetch(Images(), seed)([draw])[0], first)
