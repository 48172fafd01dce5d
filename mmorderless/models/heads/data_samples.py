"""Read labels from data samples and write predictions into them."""

import torch
from mmpretrain.structures import DataSample, label_to_onehot
from torch import Tensor

from mmorderless.labels.checks import check_fits
from mmorderless.models.decoding.emission import Emission


def multi_hot_labels(data_samples: list[DataSample], num_classes: int) -> Tensor:
    """Return the labels of each sample, shape (B, C), float32.

    `gt_score` is taken where there is one, otherwise `gt_label`, as in mmpretrain's heads.
    """
    rows = [
        sample.gt_score if "gt_score" in sample else label_to_onehot(sample.gt_label, num_classes)
        for sample in data_samples
    ]
    return torch.stack(rows).float()


def training_labels(data_samples: list[DataSample], max_steps: int) -> list[Tensor]:
    """Return the class indices of each sample of a training batch, having checked that they fit.

    Raises:
        ValueError: a sample has no labels, they do not fit, or `gt_score` is not their multi-hot
            form.
    """
    for i, sample in enumerate(data_samples):
        if "gt_label" not in sample:
            raise ValueError(
                f"image {i} of the batch has no gt_label; give images without labels an empty one"
            )
    labels = [sample.gt_label for sample in data_samples]
    check_fits(max(len(label_set) for label_set in labels), max_steps)
    for i, sample in enumerate(data_samples):
        if "gt_score" in sample:
            _check_hard(i, sample.gt_score.cpu(), labels[i].cpu())
    return labels


def _check_hard(image: int, score: Tensor, labels: Tensor) -> None:
    """Raise a ValueError when `gt_score` (C,) is not the multi-hot form of the labels.

    Mixup and CutMix leave `gt_label` as it is and change `gt_score`.
    """
    classes = score.nonzero()[:, 0]
    if classes.tolist() != sorted(labels.tolist()) or not (score[classes] == 1).all():
        raise ValueError(
            f"gt_score of image {image} of the batch is not the multi-hot form of its gt_label "
            f"{labels.tolist()}; soft labels (Mixup, CutMix) cannot be put into a sequence: set "
            "model.train_cfg=None"
        )


def write_samples(
    emission: Emission,
    attention: Tensor | None,
    data_samples: list[DataSample | None] | None,
    end: Tensor | None = None,
) -> list[DataSample]:
    """Write predictions, copied to the host once a batch, into data samples.

    `end` (B,) are the probabilities that the sequences end, if the model has any.
    """
    tokens, probabilities, length, is_new, scores = (field.cpu() for field in emission)
    attention = None if attention is None else attention.cpu()
    end = None if end is None else end.cpu()
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
        if end is not None:
            sample.set_field(end[i].clone(), "end_score", dtype=Tensor)
        written.append(sample)
    return written
