"""Labels of an image that are known before it is predicted.

A data sample may carry `given`, indices of classes that are labels of the image, and `excluded`,
indices of classes that are not. A head that predicts the rest from them has
`takes_known_labels = True` and reads them from the samples that its `predict` is given. For other
heads the known labels are put in place of their predictions (`mask_known_labels`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmpretrain.structures import DataSample
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmorderless.models.decoding.prompt import Prompt


class KnownLabels(NamedTuple):
    """Known labels of a batch.

    Args:
        given: which classes are labels, shape (B, C), bool.
        excluded: which classes are not, shape (B, C), bool.
    """

    given: Tensor
    excluded: Tensor


def set_known_labels(
    sample: DataSample, given: Sequence[int], excluded: Sequence[int] = ()
) -> DataSample:
    """Add known labels, class indices, to the sample of an image, and return it."""
    for name, labels in zip(KnownLabels._fields, (given, excluded)):
        if len(labels):
            sample.set_field(torch.tensor(labels, dtype=torch.int64), name, dtype=Tensor)
    return sample


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


def read_prompt(
    data_samples: Sequence[DataSample | None] | None, num_classes: int, device: torch.device
) -> Prompt | None:
    """Return the known labels of a batch for a decoder; None if no sample has any."""
    known = read_known_labels(data_samples, num_classes, device)
    if known is None:
        return None
    empty = torch.zeros(0, dtype=torch.int64)
    given = [
        empty if sample is None else sample.get("given", empty).cpu()
        for sample in data_samples or ()
    ]
    tokens = pad_sequence(given, batch_first=True, padding_value=num_classes)
    return Prompt(tokens.to(device), *known)


def mask_known_labels(data_samples: list[DataSample]) -> list[DataSample]:
    """Put the known labels of samples in place of what was predicted of them, and return them.

    A given label then has score 1 and an excluded one 0. `pred_label` begins with the given labels,
    in their order, and has no excluded one. Predictions that know them stay as they are.
    """
    for sample in data_samples:
        labels, score = sample.pred_label, sample.pred_score
        given, excluded = (
            sample.get(name, labels[:0]).to(labels.device) for name in KnownLabels._fields
        )
        if len(given) + len(excluded) == 0:
            continue
        score = score.clone()
        score[given], score[excluded] = 1, 0
        others = labels[~torch.isin(labels, torch.cat([given, excluded]))]
        sample.set_pred_label(torch.cat([given, others])).set_pred_score(score)
    return data_samples
