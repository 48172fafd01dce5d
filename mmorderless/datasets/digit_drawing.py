"""Draw scenes of handwritten digits."""

import numpy as np
from PIL import Image

CLASSES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
NUM_LABELS_SHARE = (0.05, 0.17, 0.24, 0.24, 0.17, 0.09, 0.04)  # n = 0 … 6
POPULARITY = (0.48, 0.14, 0.62, 0.10, 0.29, 0.056, 0.80, 1.00, 0.22, 0.37)  # class 0 … 9
FRIENDS = ((1, 7), (3, 8), (4, 9), (0, 6))
RIVALS = ((2, 7), (0, 9), (6, 8))
ATTRACTION = 4.0
REPULSION = 0.25
REPEAT_SHARE = 0.15
MIN_SIZE = 32

HEIGHT_SHARE = (0.25, 0.46)  # of S: 12 … 22 pixels at S = 48
MAX_COVERED_SHARE = 0.6  # digits shrink when their boxes would cover more of the scene
POSITION_TRIALS = 40


def draw_label_set(rng: np.random.Generator) -> list[int]:
    """Draw the distinct labels of a scene; they stay in the order of drawing."""
    weight = np.asarray(POPULARITY)
    labels: list[int] = []
    for _ in range(rng.choice(len(NUM_LABELS_SHARE), p=NUM_LABELS_SHARE)):
        label = int(rng.choice(len(weight), p=weight / weight.sum()))
        labels.append(label)
        weight = weight * AFFINITY[label]
    return labels


def _affinity() -> np.ndarray:
    """Return the factor on a class's weight (column) once another class (row) is present."""
    affinity = np.ones((len(CLASSES), len(CLASSES)))
    for pairs, factor in ((FRIENDS, ATTRACTION), (RIVALS, REPULSION)):
        for a, b in pairs:
            affinity[a, b] = affinity[b, a] = factor
    np.fill_diagonal(affinity, 0)  # without replacement
    return affinity


AFFINITY = _affinity()


def draw_sizes(count: int, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw the heights and widths of a scene's digits, in descending order.

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
    if covered > MAX_COVERED_SHARE:
        boxes *= np.sqrt(MAX_COVERED_SHARE / covered)
    return np.round(boxes[np.argsort(-heights)]).astype(np.int64)


def draw_positions(boxes: np.ndarray, size: int, rng: np.random.Generator) -> np.ndarray:
    """Place boxes one by one where each overlaps the earlier ones least.

    Args:
        boxes: (height, width) in pixels, shape (count, 2).
        size: side S of the scene in pixels.
        rng: source of randomness.

    Returns:
        (top, left) in pixels, int64, shape (count, 2).
    """
    positions = np.zeros_like(boxes)
    for i, box in enumerate(boxes):
        tried = rng.integers(0, size - box + 1, (POSITION_TRIALS, 1, 2))  # (tried, 1, 2)
        end = np.minimum(tried + box, positions[:i] + boxes[:i])  # (tried, i, 2)
        overlap = np.clip(end - np.maximum(tried, positions[:i]), 0, None).prod(axis=2).sum(axis=1)
        positions[i] = tried[np.argmin(overlap), 0]
    return positions


def draw_scene(
    ink: np.ndarray, pools: list[np.ndarray], size: int, rng: np.random.Generator
) -> tuple[np.ndarray, list[int]]:
    """Draw one scene.

    Args:
        ink: the handwritten instances, uint8, shape (N, 8, 8).
        pools: indices of the instances to draw from, for each digit.
        size: side S of the scene in pixels.
        rng: source of randomness.

    Returns:
        The scene, RGB, uint8, shape (S, S, 3), and its sorted distinct labels.
    """
    labels = draw_label_set(rng)
    shown = list(labels)
    if labels and rng.random() < REPEAT_SHARE:
        shown.append(labels[rng.integers(len(labels))])
    shown = [shown[i] for i in rng.permutation(len(shown))]  # so that size is independent of class

    bright_ink = rng.random() < 0.5
    tone = rng.uniform(30, 100) if bright_ink else rng.uniform(155, 225)
    paper = tone + rng.uniform(-20, 20, 3)
    soft = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    texture = np.asarray(soft.resize((size, size), Image.Resampling.BICUBIC)) / 255 - 0.5
    scene = paper + 36 * texture + rng.uniform(-5, 5, (size, size, 1))

    boxes = draw_sizes(len(shown), size, rng)
    positions = draw_positions(boxes, size, rng)
    for digit, (height, width), (top, left) in zip(shown, boxes.tolist(), positions.tolist()):
        instance = Image.fromarray(ink[rng.choice(pools[digit])])
        scaled = np.asarray(instance.resize((width, height), Image.Resampling.BICUBIC))
        cover = np.clip(scaled[..., None] / 200, 0, 1)
        contrast = rng.uniform(75, 150) * (1 if bright_ink else -1)
        color = tone + contrast + rng.uniform(-55, 55, 3)
        window = scene[top : top + height, left : left + width]
        window += cover * (color - window)
    return np.round(np.clip(scene, 0, 255)).astype(np.uint8), sorted(labels)
