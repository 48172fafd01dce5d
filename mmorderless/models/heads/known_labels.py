"""Labels of an image that are known before it is predicted.

A data sample may carry `given`, indices of classes that are labels of the image, and `excluded`,
indices of classes that are not. A head that predicts the rest from them has
`takes_known_labels = True` and reads them from the samples that its `predict` is given.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmpretrain.structures import DataSample
from torch import Tensor


class KnownLabels(NamedTuple):
    """Known labels of a batch.

    Args:
        given: which classes are labels, shape (B, C), bool.
        excluded: which classes are not, shape (B, C), bool.
    """

    given: Tensor
    excluded: Tensor


def read_known_labels(
    data_samples: Sequence[DataSample | None] | None, num_classes: int, device: torch.device
) -> KnownLabels | None:
    """Return the known labels of a batch; None if no sample has any."""
    known = torch.zeros(2, len(data_samples or ()), num_classes, dtype=torch.bool)
    for row, sample in enumerate(data_samples or ()):
        for kind, name in enumerate(KnownLabels._fields):
            if sample is not None and name in sample:
                known[kind, row, sample.get(name).cpu()] = True
    return KnownLabels(*known.to(device)) if known.any() else None
