import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmpretrain.datasets.samplers import RepeatAugSampler
from torch.utils.data import BatchSampler, DataLoader, Dataset

from mmorderless.engine.seeding import (
    SeededFetch,
    SeededIndex,
    preserved_random_state,
    reseed,
    seed_samples,
)


def numbers():
    """Return one number of each generator that transforms use."""
    return random.random(), np.random.rand(), float(torch.rand(()))  # noqa: NPY002


class Noise(Dataset):
    """Samples are an index and numbers of the three generators."""

    def __init__(self, size=7):
        self.size = size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        assert type(index) is int
        return (index, *numbers())


def loader_of(workers=0, sampler=None, dataset=None, **options):
    dataset = dataset or Noise()
    return DataLoader(
        dataset,
        batch_size=3,
        num_workers=workers,
        sampler=sampler or DefaultSampler(dataset, seed=5),
        collate_fn=list,
        **options,
    )


def epochs_of(loader, seed=0, epochs=(0, 1, 2)):
    """Return the samples of some epochs."""
    draws = seed_samples(loader, seed)
    samples = []
    for epoch in epochs:
        draws.set_epoch(epoch)
        samples.append([sample for batch in loader for sample in batch])
    return samples


def test_equal_keys_give_equal_numbers():
    drawn = set()
    for key in [(0,), (1,), (0, 1), (1, 0), (0, 0, 1)]:
        reseed(*key)
        first = numbers()
        reseed(*key)
        assert numbers() == first
        drawn.add(first)
    assert len(drawn) == 5
    assert all(len(set(of_one)) == 5 for of_one in zip(*drawn))  # for each generator


def test_random_state_is_restored_after_an_error():
    reseed(1)
    expected = numbers()
    reseed(1)
    with pytest.raises(ZeroDivisionError), preserved_random_state():
        1 / numbers().count("never")
    assert numbers() == expected


@pytest.mark.parametrize("options", [dict(), dict(persistent_workers=True)])
def test_number_of_workers_does_not_change_the_samples(options):
    assert epochs_of(loader_of(workers=2, **options)) == epochs_of(loader_of())


def test_samples_depend_on_seed_epoch_and_index():
    epochs = epochs_of(loader_of()) + epochs_of(loader_of(), seed=1)
    samples = [sample for epoch in epochs for sample in epoch]
    assert len(samples) == 6 * 7
    for generator in (1, 2, 3):
        assert len({sample[generator] for sample in samples}) == 6 * 7
    # They do not depend on earlier epochs.
    assert epochs_of(loader_of(), epochs=[2])[0] == epochs[2]
    # Nor on the order of the sampler.
    in_order = epochs_of(loader_of(sampler=DefaultSampler(Noise(), shuffle=False)))
    assert [sorted(epoch) for epoch in in_order] == [sorted(epoch) for epoch in epochs[:3]]


def test_repeated_index_gets_different_random_numbers():
    (samples,) = epochs_of(loader_of(sampler=RepeatAugSampler(Noise(), seed=0)), epochs=[0])
    assert len(samples) == 7
    assert len({sample[0] for sample in samples}) == 3
    assert len({sample[1] for sample in samples}) == 7


def test_model_random_numbers_do_not_depend_on_workers():
    drawn = []
    for loader in (loader_of(), loader_of(workers=1)):
        seed_samples(loader, 0)
        iterator = iter(loader)
        reseed(3)
        next(iterator)
        drawn.append(numbers())
    assert drawn[0] == drawn[1]


def test_skipped_samples_are_not_loaded():
    whole = epochs_of(loader_of(), epochs=[1])[0]
    loader = loader_of()
    draws = seed_samples(loader, 0)
    draws.set_epoch(1)
    draws.skip = 3
    assert [sample for batch in loader for sample in batch] == whole[3:]
    draws.skip = 9
    assert list(loader) == []
    assert [sample for batch in loader for sample in batch] == whole  # skipped once


def test_loader_can_be_reseeded():
    loader = loader_of()
    dataset, sampler = loader.dataset, loader.sampler
    epochs_of(loader, seed=1)
    assert epochs_of(loader) == epochs_of(loader_of())
    assert loader.dataset is dataset
    assert loader.batch_sampler.sampler.sampler is sampler


def test_loader_without_a_sampler_is_an_error():
    sampler = DefaultSampler(Noise(), seed=5)
    loader = DataLoader(Noise(), batch_sampler=BatchSampler(sampler, 3, False), collate_fn=list)
    assert epochs_of(loader) == epochs_of(loader_of())
    loader = DataLoader(Noise(), batch_sampler=[[0, 1], [2]], collate_fn=list)
    with pytest.raises(ValueError, match=r"batch_sampler=list cannot be seeded .*; give "):
        seed_samples(loader, 0)


def test_seeded_indices_can_be_pickled():
    draw = pickle.loads(pickle.dumps(SeededIndex(4, 2, 1)))
    assert (draw, draw.epoch, draw.repeat) == (4, 2, 1)
    fetch = pickle.loads(pickle.dumps(SeededFetch(Noise(), 0)))  # start method spawn
    assert fetch([draw]) == SeededFetch(Noise(), 0)([draw])
