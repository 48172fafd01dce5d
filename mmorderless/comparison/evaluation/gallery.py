"""Choose the photos of the report, and store the attention maps of their labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mmorderless.comparison.plan import read_arrays
from mmorderless.labels.label_lists import LabelLists, sparse_label_matrix
from mmorderless.runs.files import replacing

GALLERY_SIZE = 60
GALLERY_SEED = 0
"""The evaluation and the report use the same size and seed, so that they choose the same photos."""
ATTENTION_FILE = "attention.npz"


class AttentionMaps(NamedTuple):
    """The attention maps of a photo: emitted labels, repeats included, with a map for each."""

    sequence: list[int]
    maps: np.ndarray  # (S, h, w)


def choose_gallery(
    truth: LabelLists, num_classes: int, size: int = GALLERY_SIZE, seed: int = GALLERY_SEED
) -> np.ndarray:
    """Choose random images that cover as many classes as possible.

    For the rarest missing class, the image with the most missing classes is chosen; once all
    classes are covered, random images follow. A smaller choice is a prefix of a larger one.

    Args:
        truth: true labels of each of N images.
        num_classes: number of classes C.
        size: number of images to choose; all if there are fewer.
        seed: seed of the random order, which also breaks ties.

    Returns:
        Distinct indices of the images, in the order of choice, shape (min(N, size),).
    """
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
    """Write the attention maps of the photos of `choose_gallery` to `folder/attention.npz`.

    Raises:
        ValueError: the sizes of the maps differ (the test pipeline does not resize to one size).
    """
    if len(sizes := {maps.shape[1:] for _, maps in attention}) > 1:
        raise ValueError(f"attention maps need the same size, got {sorted(sizes)}; resize images")
    with replacing(folder / ATTENTION_FILE) as unfinished:
        np.savez_compressed(
            unfinished,
            index=np.asarray(index, dtype=np.int64),
            sequence=np.concatenate([np.asarray(s, dtype=np.int32) for s, _ in attention]),
            length=np.array([len(sequence) for sequence, _ in attention], dtype=np.int64),
            maps=np.concatenate([maps for _, maps in attention]).astype(np.float16),
        )


def read_gallery_attention(folder: Path) -> dict[int, AttentionMaps]:
    """Read the maps by index of the image in the test set; none for methods without attention.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / ATTENTION_FILE
    if not path.is_file():
        return {}
    arrays = read_arrays(path)
    ends = np.cumsum(arrays["length"])[:-1]
    sequences, maps = (np.split(arrays[name], ends) for name in ("sequence", "maps"))
    return {
        int(image): AttentionMaps(sequence.tolist(), image_maps.astype(np.float32))
        for image, sequence, image_maps in zip(arrays["index"], sequences, maps, strict=True)
    }
