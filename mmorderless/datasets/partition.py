"""Divide a training set for validation (`val_split`), and check a config's datasets."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.config import Config, ConfigDict
from mmpretrain.datasets import BaseDataset, KFoldDataset
from mmpretrain.registry import DATASETS

FOLDS = ("DatasetPart", "KFoldDataset")
"""Wrappers that take a part of a dataset: ours and mmpretrain's."""

REPEATING_WRAPPERS = ("RepeatDataset", "ClassBalancedDataset")

TOLERANCE = 1e-9


def apply_val_split(cfg: Config) -> None:
    """Hold out a part of the training set for validation if the config has a `val_split`.

    `val_split = 0.1` trains on nine tenths of the training set and validates on the remaining
    tenth, with the validation pipeline; the test set stays as it is. The seed is fixed, so that
    every run has the same parts.

    The key is set to None, so that a config saved afterwards is not divided again.

    Raises:
        ValueError: `val_split` is not 1/k with an integer k ≥ 2, a dataloader is missing, or the
            training set cannot be divided.
    """
    share = cfg.get("val_split")
    if share is None:
        return
    part = dict(type=FOLDS[0], num_splits=number_of_parts(share), fold=0, seed=0)
    for name in ("train_dataloader", "val_dataloader"):
        if not (cfg.get(name) or {}).get("dataset"):
            raise ValueError(
                f"val_split={share} needs a {name} with a dataset, and {cfg.filename} has none; "
                "add it or remove val_split"
            )
    # Copies: one dict may be the dataloader of several splits.
    train, val = copy.deepcopy(cfg.train_dataloader), copy.deepcopy(cfg.val_dataloader)
    *wrappers, whole = nested_datasets(train.dataset)
    kinds = [str(dataset.get("type")) for dataset in (*wrappers, whole)]
    # An unknown type is reported where it is built.
    can_be_divided = hasattr(DATASETS.get(kinds[-1]) or BaseDataset, "get_subset_")
    if {*FOLDS} & {*kinds} or "datasets" in whole or not can_be_divided:
        raise ValueError(
            f"val_split={share} cannot divide {' of '.join(kinds)}; give train_dataloader a single "
            "dataset that is not divided yet, or remove val_split"
        )
    held_out = copy.deepcopy(whole)
    held_out.pop("pipeline", None)
    # Only the pipeline: in test_mode some datasets require further options (CsvMultiLabel).
    pipeline = nested_datasets(val.dataset)[-1].get("pipeline")
    if pipeline is not None:
        held_out.pipeline = pipeline
    val.dataset = ConfigDict(**part, test_mode=True, dataset=held_out)
    # A wrapper such as RepeatDataset cannot be divided itself.
    (wrappers[-1] if wrappers else train).dataset = ConfigDict(**part, dataset=whole)
    cfg.train_dataloader, cfg.val_dataloader = train, val
    cfg.val_split = None


def number_of_parts(share: Any) -> int:
    """Return k for the share 1/k.

    Raises:
        ValueError: it is not the reciprocal of an integer k ≥ 2.
    """
    if isinstance(share, int | float) and 0 < share < 1:
        parts = round(1 / share)
        if parts >= 2 and abs(share - 1 / parts) <= TOLERANCE:
            return parts
    raise ValueError(
        f"val_split must be 1/k with an integer k of at least 2, such as 0.5, 0.2 or 0.1, got "
        f"{share!r}; correct it or remove it"
    )


def nested_datasets(dataset: ConfigDict) -> list[ConfigDict]:
    """Return a dataset's config and those that it wraps, the outermost first."""
    chain = [dataset]
    while isinstance(chain[-1].get("dataset"), dict):
        chain.append(chain[-1].dataset)
    return chain


def check_indices(cfg: Config) -> None:
    """Check that `indices` leaves every dataset an image; mmengine's error names neither.

    Raises:
        ValueError: a dataset's `indices` is 0 or empty.
    """
    for split in ("train", "val", "test"):
        dataset = (cfg.get(f"{split}_dataloader") or {}).get("dataset") or {}
        indices = nested_datasets(dataset)[-1].get("indices")
        if indices == 0 or (isinstance(indices, Sequence) and len(indices) == 0):
            raise ValueError(
                f"indices={indices} of {split}_dataloader's dataset leaves no image; give the "
                "number of images to use, or remove it"
            )


@DATASETS.register_module()
class DatasetPart(KFoldDataset):
    """All of a dataset's images except one fold, or in test mode this fold.

    mmpretrain's `KFoldDataset` with three differences. The dataset is reduced in place: the
    original mmengine's `get_subset` shares a copy memo between calls, so that a second part may get
    the transforms of the first. The images are shuffled by the raw numbers of PCG64, which NumPy
    keeps the same in every version. An empty part is an error.

    `val_split` in a config creates one for training and one for validation.

    Args:
        dataset: config of the whole dataset.
        fold: index of the fold that is held out.
        num_splits: number of folds.
        test_mode: whether this is the fold that is held out instead of the others.
        seed: of the shuffling before the division; None keeps the dataset's order.

    Raises:
        ValueError: there is no such fold, or the part is empty.
    """

    def full_init(self) -> None:
        """Load the dataset and reduce it to the part, in the dataset's order."""
        if self._fully_initialized:
            return
        if not 0 <= self.fold < self.num_splits:
            raise ValueError(
                f"fold must be in 0 … num_splits − 1, got fold={self.fold} and "
                f"num_splits={self.num_splits}; correct them"
            )
        self.dataset.full_init()
        size = len(self.dataset)
        order = np.arange(size)
        if self.seed is not None:
            order = np.argsort(np.random.PCG64(self.seed).random_raw(size), kind="stable")
        start, end = (size * fold // self.num_splits for fold in (self.fold, self.fold + 1))
        in_part = np.full(size, not self.test_mode)
        in_part[order[start:end]] = self.test_mode
        self._ori_indices = np.flatnonzero(in_part).tolist()
        if not self._ori_indices:
            raise ValueError(
                f"{type(self.dataset).__name__} has {size} images, too few for {self.num_splits} "
                "parts: one would be empty; raise val_split"
            )
        self.dataset.get_subset_(self._ori_indices)
        self._fully_initialized = True
