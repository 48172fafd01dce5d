"""A part of a dataset, drawn once."""

import numpy as np
from mmpretrain.datasets import KFoldDataset
from mmpretrain.registry import DATASETS


@DATASETS.register_module()
class DatasetPart(KFoldDataset):
    """All of a dataset's images but one part, or in test mode this part.

    mmpretrain's `KFoldDataset` with three differences. The dataset is reduced in place: the
    original mmengine's `get_subset` shares its notes of what it copied between all calls, so that a
    second part may get the transforms of the first. The order that is cut into parts comes from the
    raw numbers of PCG64, which NumPy promises for every version. An empty part is an error.

    `val_split` in a config makes one for training and one for validation.

    Args:
        dataset: config of the whole dataset.
        fold: which of the parts is held out, from 0.
        num_splits: number of parts.
        test_mode: whether this is the part that is held out instead of the others.
        seed: of the order that is cut into parts; None keeps the dataset's own.

    Raises:
        ValueError: the part is empty.
    """

    def full_init(self) -> None:
        """Load the dataset and take the part; its images stay in the dataset's order."""
        if self._fully_initialized:
            return
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
