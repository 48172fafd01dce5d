"""Random numbers that depend on where a run stands, not on how it got there.

Pure PyTorch. A key is a tuple of non-negative integers (the run's seed, the process rank, ...);
equal keys give equal numbers, different keys independent ones (NumPy's `SeedSequence`).
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
"""Tells the seeds of samples from others of the same run."""


def reseed(*key: int) -> None:
    """Seed Python's `random`, NumPy and PyTorch on all devices.

    Args:
        *key: what the random numbers are to depend on.
    """
    torch.manual_seed(_seed_host(key))


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Give Python's `random`, NumPy and PyTorch's CPU generator their state back at the end."""
    state = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(state[0])
        np.random.set_state(state[1])  # noqa: NPY002
        torch.set_rng_state(state[2])


def _seed_host(key: Sequence[int]) -> int:
    """Seed what transforms draw from; the result is the seed of PyTorch's CPU generator."""
    # SeedSequence takes (1,) and (1, 0) for the same: the length tells them apart.
    words = np.random.SeedSequence([len(key), *key]).generate_state(4)  # uint32
    random.seed(words.tobytes())
    np.random.seed(words)  # noqa: NPY002 - the transforms draw from NumPy's global state
    seed = int(words[:2].view(np.uint64)[0] >> np.uint64(1))
    # Not torch.manual_seed: it takes 0.2 ms to reach all devices, and there is one call per sample.
    torch.default_generator.manual_seed(seed)
    return seed


class Draw(int):
    """Index of a sample, with the occasion on which a sampler drew it.

    It travels to the DataLoader's workers with the batch, so that persistent workers, too, know
    the epoch, however many batches they fetch ahead.

    Args:
        index: the sample's index.
        epoch: pass over the dataset.
        repeat: how often the sampler gave this index before in this epoch.
    """

    epoch: int
    repeat: int

    def __new__(cls, index: int, epoch: int, repeat: int) -> "Draw":  # noqa: D102
        draw = super().__new__(cls, index)
        draw.epoch = epoch
        draw.repeat = repeat
        return draw

    def __reduce__(self) -> tuple:
        return Draw, (int(self), self.epoch, self.repeat)


class DrawSampler(Sampler):
    """A sampler's indices as `Draw`s, from any position on.

    Args:
        sampler: gives the indices of an epoch, or of one pass after the other without end.

    Attributes:
        epoch: what `set_epoch` was told.
        skip: how many indices to leave out at the beginning of the next iteration over them.
        endless: whether the sampler goes on with the next pass over the dataset by itself, as
            mmengine's `InfiniteSampler` (whose attributes say how the processes share a pass).
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler
        self.epoch = 0
        self.skip = 0
        self.endless = False

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Draw]:
        skip, self.skip = self.skip, 0
        seen: Counter[int] = Counter()
        for position, index in enumerate(self.sampler):
            if self.endless:  # a pass has each index once, on one of the processes
                shared = self.sampler
                epoch = (position * shared.world_size + shared.rank) // shared.size
                repeat = 0
            else:
                epoch, repeat = self.epoch, seen[index]
                seen[index] += 1
            if position >= skip:
                yield Draw(index, epoch, repeat)

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch, which mmengine's and PyTorch's samplers shuffle by."""
        self.epoch = epoch
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)


class SeededFetch:
    """Fetch a batch of samples, each with random numbers of its own.

    The numbers depend on the run's seed and the `Draw` alone, so that any number of workers gives
    the same samples. The random state is left as it was: with no workers it is the model's, too.

    A DataLoader calls its dataset's `__getitems__`, where there is one, with the indices of a
    batch: that is the place to put this.

    Args:
        dataset: indexed by integers.
        seed: the run's seed.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset = dataset
        self.seed = seed

    def __call__(self, draws: Sequence[Draw]) -> list:
        """Samples of a batch, in its order."""
        samples = []
        with random_state_kept():
            for draw in draws:
                _seed_host((self.seed, SAMPLE, draw.epoch, int(draw), draw.repeat))
                samples.append(self.dataset[int(draw)])
        return samples


def seed_samples(loader: DataLoader, seed: int) -> DrawSampler:
    """Make a loader's samples depend on seed, epoch and index alone.

    Args:
        loader: a loader of batches whose workers have not started; changed in place. Its dataset
            and its sampler stay the same objects. It may be given again, with another seed.
        seed: the run's seed.

    Returns:
        The sampler that is now between the loader's own and its batches.

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
    if not isinstance(batches.sampler, DrawSampler):
        batches.sampler = DrawSampler(batches.sampler)
    dataset: Any = loader.dataset
    dataset.__getitems__ = SeededFetch(dataset, seed)
    return batches.sampler


def batch_size_of(loader: DataLoader) -> int:
    """Samples per batch of a loader, also where a sampler makes its batches; 0 if that varies."""
    if type(loader.batch_sampler) is BatchSampler:
        return loader.batch_sampler.batch_size
    return 0


class BatchStream:
    """Batches without end, from any position on, for a loop that counts iterations.

    It does what mmengine's iterator does and starts the loader's workers later: at the first batch
    that is wanted, when the samples are seeded and the position is known.

    Args:
        loader: a loader of batches, see `seed_samples`.
        draws: what `seed_samples` returned.
        position: batches that were consumed before.
        announced: how many batches the loop asks for, one by one, only to skip them: it gets None.
    """

    def __init__(
        self, loader: DataLoader, draws: DrawSampler, position: int, announced: int
    ) -> None:
        self.loader = loader
        self.draws = draws
        self.announced = announced
        per_pass = len(loader)
        self.epoch, done = (0, position) if draws.endless else divmod(position, per_pass)
        draws.skip = done * batch_size_of(loader)
        self._iterator: Iterator | None = None

    def __iter__(self) -> "BatchStream":
        return self

    def __next__(self) -> Any:
        if self.announced:
            self.announced -= 1
            return None
        if self._iterator is None:
            self.draws.set_epoch(self.epoch)
            self._iterator = iter(self.loader)
        try:
            return next(self._iterator)
        except StopIteration:
            self.epoch += 1
            self._iterator = None
            return next(self)

    def skip_iter(self, num_iters: int) -> None:
        """Skip what was announced, at once."""
        self.announced -= num_iters
