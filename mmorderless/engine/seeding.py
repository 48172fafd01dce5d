"""Seed random numbers from the run's seed and its progress, so that a resumed run draws the same.

A key is a tuple of non-negative integers (the run's seed, the process rank, ...); equal keys give
equal numbers, different keys independent ones (NumPy's `SeedSequence`).
"""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, Sampler

SAMPLE = 2
"""Separates the seeds of samples from other seeds of the run."""


def reseed(*key: int) -> None:
    """Seed Python's `random`, NumPy and PyTorch on all devices."""
    torch.manual_seed(_seed_host(key))


@contextmanager
def preserved_random_state(devices: Sequence[int] = ()) -> Iterator[None]:
    """Restore the state of Python's `random`, NumPy, PyTorch's CPU generator and some GPUs'.

    Args:
        devices: numbers of the GPUs.
    """
    state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002


def _seed_host(key: Sequence[int]) -> int:
    """Seed the CPU generators, which transforms use, and return the seed of PyTorch's."""
    # SeedSequence treats (1,) and (1, 0) alike; the length distinguishes them.
    words = np.random.SeedSequence([len(key), *key]).generate_state(4)  # uint32
    random.seed(words.tobytes())
    np.random.seed(words)  # noqa: NPY002 - transforms use NumPy's global state
    seed = int(words[:2].view(np.uint64)[0] >> np.uint64(1))
    # Not torch.manual_seed, which takes 0.2 ms to reach all devices, once per sample.
    torch.default_generator.manual_seed(seed)
    return seed


class SeededIndex(int):
    """Sample index tagged with its epoch and repeat count.

    The tags reach the DataLoader's workers with each batch, so that persistent workers know the
    epoch, however many batches they prefetch.

    Args:
        index: the sample's index.
        epoch: pass over the dataset.
        repeat: how often the sampler gave this index earlier in the epoch.
    """

    epoch: int
    repeat: int

    def __new__(cls, index: int, epoch: int, repeat: int) -> "SeededIndex":  # noqa: D102
        seeded = super().__new__(cls, index)
        seeded.epoch = epoch
        seeded.repeat = repeat
        return seeded

    def __reduce__(self) -> tuple:
        return SeededIndex, (int(self), self.epoch, self.repeat)


class SeededSampler(Sampler):
    """Yield a sampler's indices as `SeededIndex`, starting at any position.

    Args:
        sampler: yields the indices of one epoch.

    Attributes:
        epoch: the current epoch.
        skip: number of indices to skip at the start of the next iteration.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler
        self.epoch = 0
        self.skip = 0

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[SeededIndex]:
        skip, self.skip = self.skip, 0
        seen: Counter[int] = Counter()
        for position, index in enumerate(self.sampler):
            if position >= skip:
                yield SeededIndex(index, self.epoch, seen[index])
            seen[index] += 1

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which mmengine's and PyTorch's samplers shuffle by."""
        self.epoch = epoch
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)


class SeededFetch:
    """Fetch a batch of samples, each with its own random numbers.

    The numbers depend only on the run's seed and the `SeededIndex`, so that any number of workers
    gives the same samples. The random state is restored, since without workers the model uses it
    too. A DataLoader calls its dataset's `__getitems__` with the indices of a batch; an instance of
    this class takes its place.

    Args:
        dataset: indexed by integers.
        seed: the run's seed.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __call__(self, indices: Sequence[SeededIndex]) -> list:
        """Return the samples of a batch, in its order."""
        samples = []
        with preserved_random_state():
            for index in indices:
                _seed_host((self.seed, SAMPLE, index.epoch, int(index), index.repeat))
                samples.append(self.dataset[int(index)])
        return samples


def seed_samples(loader: DataLoader, seed: int) -> SeededSampler:
    """Make a loader's samples depend only on seed, epoch and index.

    Args:
        loader: a loader whose workers have not started; changed in place. Its dataset and its
            sampler stay the same objects. Calling this again replaces the seed.
        seed: the run's seed.

    Returns:
        The sampler inserted between the loader's own and its batches.

    Raises:
        ValueError: the loader's batches do not come from a sampler.
    """
    batches: Any = loader.batch_sampler
    if not hasattr(batches, "sampler"):
        raise ValueError(
            f"the samples of a loader with batch_sampler={type(batches).__name__} cannot be "
            "seeded (it has no attribute `sampler`); give the loader a batch_size and a sampler, "
            "or remove DeterministicResumeHook"
        )
    if not isinstance(batches.sampler, SeededSampler):
        batches.sampler = SeededSampler(batches.sampler)
    dataset: Any = loader.dataset
    dataset.__getitems__ = SeededFetch(dataset, seed)
    return batches.sampler


def batch_size_of(loader: DataLoader) -> int:
    """Return the number of samples per batch of a loader; 0 if it varies."""
    if type(loader.batch_sampler) is BatchSampler:
        return loader.batch_sampler.batch_size
    return 0
