"""The embedded data: small scenes of real handwritten digits, labelled with the set they show.

Nothing is downloaded: scikit-learn carries 1,797 handwritten digits of 8×8 pixels. A scene shows
up to seven of them in varying sizes, colours and contrast. The process, per scene:

1. The number n of distinct labels is drawn from `NUM_LABELS_SHARE` (0 … 6).
2. Labels are drawn one by one without replacement, with probability proportional to the class's
   popularity (`POPULARITY`, a long tail) times `ATTRACTION` for a friend (`FRIENDS`) already in
   the scene, or `REPULSION` for a rival (`RIVALS`).
3. Each label gets one handwritten instance; in some scenes one label gets a second one.
4. Heights are log-uniform, so that one digit often dominates. Digits are placed, the largest
   first, where they overlap the others least.
5. Ink and background differ by a contrast drawn per digit; the background has a soft texture.

Train and test scenes use different handwritten instances whatever the seed. A scene depends on its
split, seed and number alone: the first scenes of a larger set are those of a smaller one.

Letters: S side of a scene in pixels, n number of distinct labels.
"""

import json
import os
import os.path as osp
import shutil
import uuid

import numpy as np
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.utils import ProgressBar
from mmpretrain.registry import DATASETS
from PIL import Image

from .json_labels import JsonMultiLabel

VERSION = 1
"""Raise it with every change of the scenes, so that no cache of older ones is read."""

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NUM_LABELS_SHARE = (0.05, 0.17, 0.24, 0.24, 0.17, 0.09, 0.04)  # n = 0 … 6
POPULARITY = (0.48, 0.14, 0.62, 0.10, 0.29, 0.056, 0.80, 1.00, 0.22, 0.37)  # class 0 … 9
FRIENDS = ((1, 7), (3, 8), (4, 9), (0, 6))
RIVALS = ((2, 7), (0, 9), (6, 8))
ATTRACTION = 4.0
REPULSION = 0.25
REPEAT_SHARE = 0.15

SPLITS = ("train", "test")
TRAIN_SHARE = 0.8
MIN_SIZE = 32

HEIGHT_SHARE = (0.25, 0.46)  # of S: 12 … 22 pixels at S = 48
CROWDED_SHARE = 0.6  # digits shrink together when their boxes would cover more of the scene
PLACES_TRIED = 40


def load_instances() -> tuple[np.ndarray, np.ndarray]:
    """Load scikit-learn's handwritten digits.

    Returns:
        Ink, uint8, shape (1797, 8, 8), 0 (paper) … 255 (ink); and the digits 0 … 9, int64.

    Raises:
        ImportError: scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError(
            "the digit scenes are made from scikit-learn's handwritten digits, and scikit-learn "
            "is missing; pip install mmorderless[quickstart]"
        ) from None
    digits = load_digits()
    return np.round(digits.images * (255 / 16)).astype(np.uint8), digits.target.astype(np.int64)


def instances_of_split(digits: np.ndarray, split: str) -> list[np.ndarray]:
    """Divide the handwritten instances into train and test, the same way for every seed.

    Args:
        digits: the digit of each instance, shape (N,).
        split: 'train' or 'test'.

    Returns:
        For each digit 0 … 9 the indices of its instances in this split.
    """
    pools = []
    for digit in range(len(CLASSES)):
        rng = np.random.Generator(np.random.PCG64(digit))
        instances = rng.permutation(np.flatnonzero(digits == digit))
        cut = round(TRAIN_SHARE * len(instances))
        pools.append(instances[:cut] if split == "train" else instances[cut:])
    return pools


def draw_label_set(rng: np.random.Generator) -> list[int]:
    """Draw the distinct labels of a scene, in the order in which they were drawn."""
    weight = np.asarray(POPULARITY)
    labels: list[int] = []
    for _ in range(rng.choice(len(NUM_LABELS_SHARE), p=NUM_LABELS_SHARE)):
        label = int(rng.choice(len(weight), p=weight / weight.sum()))
        labels.append(label)
        weight = weight * AFFINITY[label]
    return labels


def _affinity() -> np.ndarray:
    """Factor on each class's weight, shape (10, 10), once another class (the row) is present."""
    affinity = np.ones((len(CLASSES), len(CLASSES)))
    for pairs, factor in ((FRIENDS, ATTRACTION), (RIVALS, REPULSION)):
        for a, b in pairs:
            affinity[a, b] = affinity[b, a] = factor
    np.fill_diagonal(affinity, 0)  # without replacement
    return affinity


AFFINITY = _affinity()


def draw_sizes(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the heights and widths of a scene's digits, the largest first.

    Args:
        count: number of digits.
        size: side S of the scene in pixels.
        rng: source of randomness.

    Returns:
        (height, width) in pixels, int64, shape (count, 2).
    """
    low, high = np.log(HEIGHT_SHARE)
    heights = size * np.exp(rng.uniform(low, high, count))
    boxes = np.stack([heights, heights * rng.uniform(0.8, 1.05, count)], axis=1)
    covered = boxes.prod(axis=1).sum() / size**2
    if covered > CROWDED_SHARE:
        boxes *= np.sqrt(CROWDED_SHARE / covered)
    return np.round(boxes[np.argsort(-heights)]).astype(np.int64)


def draw_places(boxes: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Place boxes one after the other where each overlaps the earlier ones least.

    Args:
        boxes: (height, width) in pixels, shape (count, 2).
        size: side S of the scene in pixels.
        rng: source of randomness.

    Returns:
        (top, left) in pixels, int64, shape (count, 2).
    """
    places = np.zeros_like(boxes)
    for i, box in enumerate(boxes):
        tried = rng.integers(0, size - box + 1, (PLACES_TRIED, 1, 2))  # (tried, 1, 2)
        end = np.minimum(tried + box, places[:i] + boxes[:i])  # (tried, i, 2)
        overlap = np.clip(end - np.maximum(tried, places[:i]), 0, None).prod(axis=2).sum(axis=1)
        places[i] = tried[np.argmin(overlap), 0]
    return places


def draw_scene(
    ink: np.ndarray, pools: list[np.ndarray], size: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[int]]:
    """Draw one scene.

    Args:
        ink: the handwritten instances, uint8, shape (N, 8, 8).
        pools: for each digit the instances to draw from.
        size: side S of the scene in pixels.
        rng: source of randomness.

    Returns:
        The scene, RGB, uint8, shape (S, S, 3), and its sorted distinct labels.
    """
    labels = draw_label_set(rng)
    shown = list(labels)
    if labels and rng.random() < REPEAT_SHARE:
        shown.append(labels[rng.integers(len(labels))])
    shown = [shown[i] for i in rng.permutation(len(shown))]  # sizes do not follow popularity

    bright_ink = rng.random() < 0.5
    tone = rng.uniform(30, 100) if bright_ink else rng.uniform(155, 225)
    paper = tone + rng.uniform(-20, 20, 3)
    soft = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    texture = np.asarray(soft.resize((size, size), Image.Resampling.BICUBIC)) / 255 - 0.5
    scene = paper + 36 * texture + rng.uniform(-5, 5, (size, size, 1))

    boxes = draw_sizes(len(shown), size, rng)
    places = draw_places(boxes, size, rng)
    for digit, (height, width), (top, left) in zip(shown, boxes.tolist(), places.tolist()):
        instance = Image.fromarray(ink[rng.choice(pools[digit])])
        scaled = np.asarray(instance.resize((width, height), Image.Resampling.BICUBIC))
        cover = np.clip(scaled[..., None] / 200, 0, 1)
        contrast = rng.uniform(75, 150) * (1 if bright_ink else -1)
        colour = tone + contrast + rng.uniform(-55, 55, 3)
        window = scene[top : top + height, left : left + width]
        window += cover * (colour - window)
    return np.round(np.clip(scene, 0, 255)).astype(np.uint8), sorted(labels)


def write_scenes(folder: str, split: str, num_scenes: int, size: int, seed: int) -> None:
    """Write scenes as PNG files with an annotation file in the form of `JsonMultiLabel`.

    Args:
        folder: where `annotation.json` and `images/` go; it must not exist.
        split: 'train' or 'test'.
        num_scenes: number of scenes.
        size: side S of a scene in pixels.
        seed: of the scenes; the handwritten instances of the two splits are disjoint for any.
    """
    ink, digits = load_instances()
    pools = instances_of_split(digits, split)
    os.makedirs(osp.join(folder, "images"))
    progress = ProgressBar(num_scenes) if is_main_process() else None
    records = []
    for number in range(num_scenes):
        source = np.random.SeedSequence([seed, SPLITS.index(split), number])
        rng = np.random.Generator(np.random.PCG64(source))
        scene, labels = draw_scene(ink, pools, size, rng)
        name = f"images/{number:05d}.png"
        Image.fromarray(scene).save(osp.join(folder, name))
        records.append({"img_path": name, "gt_label": labels})
        done = number + 1
        if progress and (done % 100 == 0 or done == num_scenes):
            progress.update(done - progress.completed)
    if progress:
        progress.file.write("\n")
    with open(osp.join(folder, "annotation.json"), "w", encoding="utf-8") as file:
        json.dump({"metainfo": {"classes": list(CLASSES)}, "data_list": records}, file)


@DATASETS.register_module()
class DigitScenes(JsonMultiLabel):
    """Scenes of handwritten digits, drawn on first use and read from a cache afterwards.

    The folder `data_root/v<version>_<split>_<count>x<S>px_seed<seed>` holds `images/*.png` and
    `annotation.json`. It appears under its name only when it is complete: processes that start
    together each draw the same scenes into a folder of their own, and the first one to finish
    gives it the name.

    Gives per image `img_path` and `gt_label`, the sorted distinct digits, possibly none.

    Args:
        split: 'train' or 'test'; their handwritten instances are disjoint.
        num_scenes: number of scenes.
        size: side S of a scene in pixels.
        seed: of the scenes.
        data_root: folder of the cache, relative to the working directory.
        **kwargs: of `JsonMultiLabel`, except where its files are.

    Raises:
        ValueError: an unknown split, no scene, or scenes too small to read.
        ImportError: the scenes are not in the cache and scikit-learn is missing.
    """

    METAINFO = {"classes": CLASSES}

    def __init__(
        self,
        split: str = "train",
        num_scenes: int = 5000,
        size: int = 48,
        seed: int = 0,
        data_root: str = "data/digit_scenes",
        **kwargs,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r} of the digit scenes; choose train or test")
        if num_scenes < 1 or size < MIN_SIZE or seed < 0:
            raise ValueError(
                f"digit scenes need num_scenes ≥ 1, size ≥ {MIN_SIZE} and seed ≥ 0, "
                f"got num_scenes={num_scenes}, size={size}, seed={seed}; raise what is below"
            )
        self.split = split
        self.num_scenes = num_scenes
        self.size = size
        self.seed = seed
        folder = f"v{VERSION}_{split}_{num_scenes}x{size}px_seed{seed}"
        super().__init__(
            ann_file=osp.join(folder, "annotation.json"),
            data_root=osp.expanduser(data_root),
            data_prefix=folder,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Draw the scenes if they are not in the cache, and read their annotation."""
        if not osp.isdir(self.img_prefix):
            self._fill_cache(self.img_prefix)
        return super().load_data_list()

    def _fill_cache(self, folder: str) -> None:
        print_log(f"drawing {self.num_scenes} digit scenes into {folder}", logger="current")
        # On the same disk as the cache, so that giving it its name is one atomic step.
        drawn = f"{folder}.{uuid.uuid4().hex}.tmp"
        try:
            write_scenes(drawn, self.split, self.num_scenes, self.size, self.seed)
            os.replace(drawn, folder)
        except OSError:
            # Another process was faster; its scenes are the same.
            if not osp.isdir(folder):
                raise
        finally:
            shutil.rmtree(drawn, ignore_errors=True)
