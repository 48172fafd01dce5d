"""Read labels from data samples and write predictions into them."""

from typing import Optional

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from mmorderless.alignment.transfer import to_host
from mmorderless.labels.checks import LabelSets, check_room
from mmorderless.models.decoding.emission import Emission


def true_labels(data_samples: list[DataSample]) -> list[Tensor]:
    """Class indices of each sample.

    Raises:
        ValueError: a sample has no labels.
    """
    for i, sample in enumerate(data_samples):
        if "gt_label" not in sample:
            raise ValueError(
                f"image {i} of the batch has no gt_label; give images without labels an empty one"
            )
    return [sample.gt_label for sample in data_samples]


@torch.compiler.disable  # numbers of labels differ in every batch
def training_labels(
    data_samples: list[DataSample], max_steps: int
) -> tuple[list[Tensor], LabelSets]:
    """Labels of a batch, checked to fit, for a head's loss.

    Args:
        data_samples: B samples, see `OrderlessRNNHead.loss`.
        max_steps: most steps of a rollout; END counts as one.

    Returns:
        Class indices of each sample; and the same, or `gt_score` (B, C) where all samples have it.

    Raises:
        ValueError: a sample has no labels, they do not fit, or `gt_score` names other ones.
    """
    labels = true_labels(data_samples)
    check_room(max(len(label_set) for label_set in labels), max_steps)
    # Mixup and CutMix leave gt_label as it is and change gt_score, which the loss then refuses.
    if not all("gt_score" in sample for sample in data_samples):
        return labels, labels
    scores = torch.stack([sample.gt_score for sample in data_samples])
    check_same_counts(scores, labels)
    return labels, scores


@torch.compiler.disable
def check_same_counts(scores: Tensor, labels: list[Tensor]) -> None:
    """Raise a ValueError when `gt_score` (B, C) names more or fewer classes than `gt_label`."""
    named = to_host((scores != 0).sum(1))
    for i, (count, label_set) in enumerate(zip(named.tolist(), labels)):
        if count != len(label_set):
            raise ValueError(
                f"gt_score of image {i} of the batch names {count} classes, its gt_label "
                f"{len(label_set)}; soft labels (Mixup, CutMix) cannot be put into a sequence: set "
                "model.train_cfg=None"
            )


def write_samples(
    emission: Emission,
    attention: Optional[Tensor],
    data_samples: Optional[list[Optional[DataSample]]],
) -> list[DataSample]:
    """Write predictions, copied to the host once a batch, into data samples."""
    tokens, probabilities, length, is_new, scores = (field.cpu() for field in emission)
    attention = None if attention is None else attention.cpu()
    samples = [None] * len(tokens) if data_samples is None else data_samples
    written = []
    for i, (sample, n) in enumerate(zip(samples, length.tolist())):
        sample = DataSample() if sample is None else sample
        # Copies, not views: a pickled view drags the whole batch along.
        sample.set_pred_label(tokens[i][is_new[i]]).set_pred_score(scores[i].clone())
        sample.set_field(tokens[i, :n].clone(), "sequence", dtype=Tensor)
        sample.set_field(probabilities[i, :n].clone(), "sequence_score", dtype=Tensor)
        if attention is not None:
            sample.set_field(attention[i, :n].clone(), "attention", dtype=Tensor)
        written.append(sample)
    return written
