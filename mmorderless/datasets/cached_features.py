"""Feature maps of a frozen backbone, stored on disk: the file format and the dataset.

A split of a cache is `DIR/SPLIT.npy`, float16 of shape (N, D, h, w), and `DIR/SPLIT.json`, an index
of its images, classes and backbone with the checksums of both files. The JSON is written last: a
split without one is incomplete.
"""

import json
import math
import os
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from mmpretrain.datasets import MultiLabelDataset
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample
from numpy.lib.format import dtype_to_descr, write_array_header_1_0

from mmorderless.datasets.annotations import check_classes, check_label_set

INDEX_VERSION = 2
DTYPE = np.dtype("<f2")
LABEL_FIELDS = ("gt_label", "gt_ignore")
CHUNK = 1 << 24  # bytes


def write_split(
    cache: Path,
    split: str,
    key: str,
    images: Sequence[dict[str, Any]],
    classes: Sequence[str],
    batches: Iterable[np.ndarray],
    weights: str | None = None,
    groups: Mapping[str, Sequence[int]] | None = None,
) -> None:
    """Store a split's features.

    Args:
        cache: folder of the cache.
        split: name of the split.
        key: digest of everything that the features depend on.
        images: per image `img_path`, `gt_label` and, where labels are not judged, `gt_ignore`, in
            the order of the features.
        classes: class names.
        batches: the features, shape (b, D, h, w) each; N in total.
        weights: name of the backbone's weights, for the log.
        groups: class indices of each named group of classes.

    Raises:
        ValueError: a class name or label is wrong, a feature is not finite in float16, or the maps
            differ in shape.
    """
    source = f"the dataset of the split {split!r}"
    classes = check_classes(classes, source)
    entries = [_index_entry(image, len(classes), source) for image in images]
    cache.mkdir(parents=True, exist_ok=True)
    features_file, index_file = cache / f"{split}.npy", cache / f"{split}.json"
    # Under another name until it is complete, so that an interrupted run leaves no broken split.
    partial = cache / f"{split}.npy.partial"
    shape: tuple[int, ...] = ()
    done = 0
    with open(partial, "wb") as file:
        for batch in batches:
            if not shape:
                shape = (len(images), *batch.shape[1:])
                form = {"descr": dtype_to_descr(DTYPE), "fortran_order": False, "shape": shape}
                write_array_header_1_0(file, form)
            with np.errstate(over="ignore"):
                half = batch.astype(DTYPE, order="C")
            which = f"{split}: images {done} to {done + len(batch) - 1}"
            if batch.shape[1:] != shape[1:]:
                raise ValueError(
                    f"{which} have maps of shape {batch.shape[1:]}, the images before "
                    f"{shape[1:]}; resize all images to the same size in the pipeline"
                )
            if not np.isfinite(half).all():
                raise ValueError(
                    f"{which} have a feature that is not finite in float16 (largest "
                    f"{np.abs(batch).max():.3g}); check the backbone's weights"
                )
            file.write(half.data)
            done += len(batch)
    if done != len(images):
        raise ValueError(
            f"{split}: got features of {done} images for {len(images)}; the dataset must not change"
        )
    index = {
        "version": INDEX_VERSION,
        "key": key,
        "weights": weights,
        "shape": list(shape),
        "features": _size_and_checksum(partial),
        "classes": list(classes),
        "groups": {name: list(group) for name, group in (groups or {}).items()},
        "images": entries,
    }
    index["checksum"] = _index_checksum(index)
    os.replace(partial, features_file)
    partial_index = cache / f"{split}.json.partial"
    partial_index.write_text(json.dumps(index))
    os.replace(partial_index, index_file)


def _index_entry(image: dict[str, Any], num_classes: int, source: str) -> dict[str, Any]:
    path = image["img_path"]
    labels = {field: np.asarray(image[field]).tolist() for field in LABEL_FIELDS if field in image}
    return {"img_path": path} | {
        field: check_label_set(values, num_classes, path, source)
        for field, values in labels.items()
    }


def read_index(cache: Path, split: str) -> dict[str, Any] | None:
    """Return a split's index, or None if the split does not exist or is incomplete.

    Both files are compared with their checksums, which takes 0.3 seconds per gigabyte and the time
    to read it.

    Raises:
        ValueError: another version of this package wrote the index, or a file is not as it was
            written.
    """
    index_file, features_file = cache / f"{split}.json", cache / f"{split}.npy"
    if not index_file.is_file() or not features_file.is_file():
        return None
    try:
        index = json.loads(index_file.read_bytes())
    except (ValueError, RecursionError):
        index = None
    if not isinstance(index, dict):
        raise _not_as_written(index_file, "is not the JSON object that was written")
    if index.get("version") != INDEX_VERSION:
        version = f"version {index.get('version')}, this package reads version {INDEX_VERSION}"
        raise _not_as_written(index_file, f"has {version}")
    if index.pop("checksum", None) != _index_checksum(index):
        raise _not_as_written(index_file, "does not have the checksum that it names")
    found, written = _size_and_checksum(features_file), index["features"]
    if found != written:
        raise _not_as_written(
            features_file,
            f"has {found[0]} bytes with checksum {found[1]}, "
            f"expected {written[0]} with {written[1]}",
        )
    return index


def _size_and_checksum(file: Path) -> list[int]:
    size = checksum = 0
    with open(file, "rb") as stream:
        while chunk := stream.read(CHUNK):
            size += len(chunk)
            checksum = zlib.crc32(chunk, checksum)
    return [size, checksum]


def _index_checksum(index: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(index, sort_keys=True).encode())


def _not_as_written(file: Path, fault: str) -> ValueError:
    return ValueError(
        f"{file} {fault}; delete the folder {file.parent} and run tools/cache_features.py again"
    )


@DATASETS.register_module()
class CachedFeatures(MultiLabelDataset):
    """Stored feature maps instead of images, for training and evaluation.

    An item is like the output of a pipeline: `inputs`, float16 of shape (D, h, w), and
    `data_samples` with `gt_label`, `img_path`, `sample_idx` and, if stored, `gt_ignore`. Use it
    with the backbone `FeaturePassThrough` and a `ClsDataPreprocessor` without mean and std, which
    makes the inputs float32.

    Args:
        cache: folder that tools/cache_features.py wrote.
        split: name of the split: train, val or test.

    The dataset is checked when it is opened, not in each worker; see `read_index`.

    Raises:
        FileNotFoundError: the cache or the split is missing or incomplete.
        ValueError: a file of the cache is not as it was written.
    """

    def __init__(self, cache: str, split: str) -> None:
        self.cache = Path(cache).expanduser()
        self.split = split
        self._shape: tuple[int, ...] = ()  # (D, h, w)
        self._header = 0  # bytes before the first map
        super().__init__(ann_file=str(self.cache / f"{split}.json"), test_mode=True)

    def load_data_list(self) -> list[dict]:
        """Return `img_path`, `gt_label` and, if stored, `gt_ignore` of each image."""
        index = read_index(self.cache, self.split)
        if index is None:
            raise FileNotFoundError(
                f"no complete features of split {self.split!r} in {self.cache}; create them with "
                f"`python tools/cache_features.py CONFIG --out {self.cache}`, with a CONFIG that "
                "reads the images"
            )
        self._metainfo.setdefault("classes", tuple(index["classes"]))
        self._metainfo.setdefault("groups", index.get("groups", {}))
        self._shape = tuple(index["shape"][1:])
        self._header = index["features"][0] - math.prod(index["shape"]) * DTYPE.itemsize
        shape = "×".join(map(str, self._shape))
        print_log(
            f"CachedFeatures: split {self.split!r} of {self.cache}, {len(index['images'])} maps of "
            f"{shape}, weights {index.get('weights') or 'not recorded'}, key {index['key'][:12]}",
            logger="current",
        )
        # `row` stays valid when the dataset is reduced to a part.
        return [{**image, "row": row} for row, image in enumerate(index["images"])]

    def prepare_data(self, idx: int) -> dict:
        """Return the features and the labels of an image."""
        info = self.get_data_info(idx)
        sample = DataSample(
            metainfo={"img_path": info["img_path"], "sample_idx": info["sample_idx"]}
        )
        sample.set_gt_label(torch.tensor(info["gt_label"], dtype=torch.long))
        if "gt_ignore" in info:
            sample.set_field(info["gt_ignore"], "gt_ignore")
        return {"inputs": torch.from_numpy(self._read_map(info["row"])), "data_samples": sample}

    def _read_map(self, row: int) -> np.ndarray:
        """Read a map (D, h, w). A memory map would end the process when its file is truncated."""
        file = self.cache / f"{self.split}.npy"
        size = math.prod(self._shape)
        offset = self._header + row * size * DTYPE.itemsize
        # Opened for each map, so that no worker inherits the position of an open file.
        values = np.fromfile(file, DTYPE, size, offset=offset)
        if len(values) != size:
            raise _not_as_written(file, "was truncated after it was opened")
        return values.reshape(self._shape)
