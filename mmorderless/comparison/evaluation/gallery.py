"""Which photos a comparison's report shows, and the attention maps of their labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmorderless.labels.label_lists import LabelLists, sparse_label_matrix

GALLERY_SIZE = 60
GALLERY_SEED = 0
"""Evaluation and report choose by the same size and seed, so that the maps fit the photos."""
ATTENTION_FILE = "attention.npz"


class AttentionMaps(NamedTuple):
    """What one photo's labels attend to.

    Attributes:
        sequence: the labels emitted, repeats included, S ints.
        maps: attention at each of them, shape (S, h, w).
    """

    sequence: list[int]
    maps: np.ndarray


def choose_gallery(
    truth: LabelLists, num_classes: int, size: int = GALLERY_SIZE, seed: int = GALLERY_SEED
) -> np.ndarray:
    """Choose images at random, first such that every class is among their labels.

    The rarest class that is still missing gets the image that brings the most missing classes
    with it. A smaller choice is the beginning of a larger one.

    Args:
        truth: the true labels of each of N images.
        num_classes: number of classes C.
        size: how many images to choose; all if there are fewer.
        seed: of the random order, which also breaks ties.

    Returns:
        Indices of the images, distinct, in the order of choice, shape (min(N, size),).

    Raises:
        ValueError: size is below 1, or a class index is not in 0 … C − 1.
    """
    if size < 1:
        raise ValueError(f"a gallery needs at least 1 photo, got size={size}")
    order = np.random.default_rng(seed).permutation(len(truth))
    has_label = sparse_label_matrix(truth, num_classes).astype(np.int64)[order].tocsc()
    images_of_class = np.diff(has_label.indptr)
    missing = images_of_class > 0
    chosen: list[int] = []
    while missing.any() and len(chosen) < size:
        rarest = np.flatnonzero(missing)[np.argmin(images_of_class[missing])]
        start, end = has_label.indptr[rarest : rarest + 2]
        holders = np.sort(has_label.indices[start:end])
        best = int(holders[np.argmax((has_label @ missing.astype(np.int64))[holders])])
        chosen.append(best)
        missing &= ~has_label[[best]].toarray().ravel().astype(bool)
    others = np.setdiff1d(np.arange(len(order)), chosen)
    return order[np.concatenate([np.array(chosen, dtype=np.int64), others])[:size]]


def save_gallery_attention(
    folder: Path, index: Sequence[int] | np.ndarray, attention: Sequence[AttentionMaps]
) -> None:
    """Write what the labels of a run's gallery photos attend to, to `folder/attention.npz`.

    Args:
        folder: the run's folder.
        index: which images of the test set, as `choose_gallery` gives them.
        attention: one for each; all maps of the same h × w.

    Raises:
        ValueError: images and maps, or labels and maps, differ in number, or the maps in size.
    """
    if len(index) != len(attention) or not attention:
        raise ValueError(
            f"got {len(index)} images but attention maps of {len(attention)}; give maps for each "
            "image, and at least one image"
        )
    for image, (sequence, maps) in zip(index, attention, strict=True):
        if maps.ndim != 3 or len(maps) != len(sequence):
            raise ValueError(
                f"image {image} has {len(sequence)} labels but attention of shape {maps.shape}; "
                "give one h × w map for each label"
            )
    sizes = {maps.shape[1:] for _, maps in attention}
    if len(sizes) > 1:
        raise ValueError(f"attention maps must be of one size, got {sorted(sizes)}; resize them")
    np.savez_compressed(
        folder / ATTENTION_FILE,
        index=np.asarray(index, dtype=np.int64),
        sequence=np.concatenate([np.asarray(s, dtype=np.int32) for s, _ in attention]),
        length=np.array([len(sequence) for sequence, _ in attention], dtype=np.int64),
        maps=np.concatenate([maps for _, maps in attention]).astype(np.float16),
    )


def read_gallery_attention(folder: Path) -> dict[int, AttentionMaps]:
    """Read what `save_gallery_attention` wrote; nothing where a method has no attention.

    Returns:
        The maps by the image's index in the test set.
    """
    path = folder / ATTENTION_FILE
    if not path.is_file():
        return {}
    with np.load(path) as file:
        ends = np.cumsum(file["length"])[:-1]
        sequences, maps = (np.split(file[name], ends) for name in ("sequence", "maps"))
        return {
            int(image): AttentionMaps(sequence.tolist(), image_maps.astype(np.float32))
            for image, sequence, image_maps in zip(file["index"], sequences, maps, strict=True)
        }
