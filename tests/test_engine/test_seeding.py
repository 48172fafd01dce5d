import pickle
import random

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler, InfiniteSampler
from mmpretrain.datasets.samplers import RepeatAugSampler
from torch.utils.data import BatchSampler, DataLoader, Dataset

from mmorderless.engine.seeding import (
    BatchStream,
    SeededFetch,
    SeededIndex,
    preserved_host_random_state,
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
    with pytest.raises(ZeroDivisionError), preserved_host_random_state():
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


def stream_of(workers, endless, position, announced=0, drop_last=False):
    dataset = Noise()
    sampler = (InfiniteSampler if endless else DefaultSampler)(dataset, seed=5)
    options = dict(persistent_workers=workers > 0, drop_last=drop_last)
    loader = loader_of(workers, sampler, dataset, **options)
    draws = seed_samples(loader, 0)
    draws.endless = endless
    return BatchStream(loader, draws, position, announced)


@pytest.mark.parametrize("endless", [False, True])
def test_stream_starts_at_any_position(endless):
    stream = iter(stream_of(0, endless, 0))
    whole = [next(stream) for _ in range(10)]  # more than three passes
    samples = [sample for batch in whole for sample in batch]
    assert len({sample[1] for sample in samples}) == len(samples)  # no pass repeats another
    for position in (1, 3, 8):
        for workers in (0, 2):
            stream = stream_of(workers, endless, position)
            assert [next(stream) for _ in range(10 - position)] == whole[position:]
        # The loop skips batches one by one (original mmengine) or together; they are not loaded.
        stream = stream_of(0, endless, position, announced=position)
        assert [next(stream) for _ in range(position)] == [None] * position
        assert next(stream) == whole[position]
        stream = stream_of(0, endless, position, announced=position)
        stream.skip_iter(position)
        assert next(stream) == whole[position]


@pytest.mark.parametrize("endless", [False, True])
def test_stream_starts_at_any_position_if_the_last_batch_is_dropped(endless):
    stream = stream_of(0, endless, 0, drop_last=True)
    whole = [next(stream) for _ in range(7)]  # two of seven images' three batches are complete
    assert all(len(batch) == 3 for batch in whole)
    samples = [sample[1] for batch in whole for sample in batch]
    assert len(set(samples)) == len(samples)
    for position in (1, 2, 5):
        stream = stream_of(2, endless, position, drop_last=True)
        assert [next(stream) for _ in range(7 - position)] == whole[position:]


def test_processes_sharing_a_pass_get_different_samples():
    """An image may belong to rank 0 in one pass and to rank 1 in the next."""
    samples = []
    for rank in (0, 1):
        sampler = InfiniteSampler(Noise(), seed=5)
        sampler.rank, sampler.world_size = rank, 2
        loader = loader_of(sampler=sampler)
        draws = seed_samples(loader, 0)
        draws.endless = True
        stream = BatchStream(loader, draws, 0, 0)
        samples += [sample for _ in range(7) for sample in next(stream)]  # 21 of a rank: 3 passes
    assert len({sample[1] for sample in samples}) == len(samples) == 42
