"""Embedded data: small scenes of real handwritten digits with the set of digits as labels.

Nothing is downloaded: scikit-learn includes 1,797 handwritten digits of 8×8 pixels. A scene shows
up to seven of them in varying sizes, colors and contrast. Each scene is drawn in five steps:

1. The number n of distinct labels is drawn from `NUM_LABELS_SHARE` (0 … 6).
2. Labels are drawn one by one without replacement, with probability proportional to the class's
   popularity (`POPULARITY`, a long tail) times `ATTRACTION` for a friend (`FRIENDS`) already in
   the scene, or `REPULSION` for a rival (`RIVALS`).
3. Each label gets one handwritten instance; in some scenes one label gets a second one.
4. Heights are log-uniform, so that one digit often dominates. Digits are placed in descending
   size where they overlap the others least.
5. Ink and background differ by a contrast drawn per digit; the background has a soft texture.

Train and test scenes use different handwritten instances for every seed. A scene depends only on
its split, seed and number: the first scenes of a larger set are those of a smaller one.

Letters: S side of a scene in pixels, n number of distinct labels.
"""

import json
import os
import os.path as osp
import shutil
import uuid

import numpy as np
from mmengine.logging import print_log
from mmpretrain.registry import DATASETS
from PIL import Image

from mmorderless.datasets.digit_drawing import CLASSES, MIN_SIZE, draw_scene
from mmorderless.datasets.json_labels import JsonMultiLabel

VERSION = 1
"""Increased with every change of the scenes, so that no cache of older scenes is read."""

SPLITS = ("train", "test")
TRAIN_SHARE = 0.8


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
    """Divide the handwritten instances into train and test, independently of the seed.

    Args:
        digits: the digit of each instance, shape (N,).
        split: 'train' or 'test'.

    Returns:
        The indices of the instances in this split, for each digit 0 … 9.
    """
    pools = []
    for digit in range(len(CLASSES)):
        rng = np.random.Generator(np.random.PCG64(digit))
        instances = rng.permutation(np.flatnonzero(digits == digit))
        cut = round(TRAIN_SHARE * len(instances))
        pools.append(instances[:cut] if split == "train" else instances[cut:])
    return pools


def write_scenes(folder: str, split: str, num_scenes: int, size: int, seed: int) -> None:
    """Write scenes as PNG files with an annotation file for `JsonMultiLabel`."""
    ink, digits = load_instances()
    pools = instances_of_split(digits, split)
    os.makedirs(osp.join(folder, "images"))
    records = []
    for number in range(num_scenes):
        source = np.random.SeedSequence([seed, SPLITS.index(split), number])
        rng = np.random.Generator(np.random.PCG64(source))
        scene, labels = draw_scene(ink, pools, size, rng)
        name = f"images/{number:05d}.png"
        Image.fromarray(scene).save(osp.join(folder, name))
        records.append({"img_path": name, "gt_label": labels})
    with open(osp.join(folder, "annotation.json"), "w", encoding="utf-8") as file:
        json.dump({"metainfo": {"classes": list(CLASSES)}, "data_list": records}, file)


@DATASETS.register_module()
class DigitScenes(JsonMultiLabel):
    """Scenes of handwritten digits, drawn on first use and read from a cache afterwards.

    The folder `data_root/v<version>_<split>_<count>x<S>px_seed<seed>` holds `images/*.png` and
    `annotation.json`. Each process draws the scenes into a temporary folder, and the first one to
    finish renames it, so that a folder of this name is complete.

    Args:
        split: 'train' or 'test'; their handwritten instances are disjoint.
        num_scenes: number of scenes.
        size: side S of a scene in pixels.
        seed: seed of the scenes.
        data_root: folder of the cache, relative to the working directory.
        **kwargs: arguments of `JsonMultiLabel`, except the paths of its files.

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
                f"got num_scenes={num_scenes}, size={size}, seed={seed}; raise the value below it"
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
        # On the same disk as the cache, so that renaming is atomic.
        drawn = f"{folder}.{uuid.uuid4().hex}.tmp"
        try:
            write_scenes(drawn, self.split, self.num_scenes, self.size, self.seed)
            os.replace(drawn, folder)
        except OSError:
            # Another process finished first; its scenes are the same.
            if not osp.isdir(folder):
                raise
        finally:
            shutil.rmtree(drawn, ignore_errors=True)
