"""Known labels of data samples."""

import torch
from mmpretrain.structures import DataSample

from mmorderless.models.heads.known_labels import read_known_labels

CPU = torch.device("cpu")


def sample(**known):
    made = DataSample()
    for name, labels in known.items():
        made.set_field(torch.tensor(labels, dtype=torch.int64), name)
    return made


def test_known_labels_are_read_from_the_samples():
    known = read_known_labels([sample(given=[2, 0]), None, sample(excluded=[1])], 3, CPU)
    assert known.given.tolist() == [[True, False, True], [False] * 3, [False] * 3]
    assert known.excluded.tolist() == [[False] * 3, [False] * 3, [False, True, False]]


def test_without_known_labels_there_is_nothing():
    for samples in (None, [], [None], [DataSample(), sample(given=[])]):
        assert read_known_labels(samples, 3, CPU) is None
