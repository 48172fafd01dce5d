"""Which of an image's labels are still to be emitted.

Letters: B images, C classes, T steps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmorderless.alignment.targets import ordered_targets
from mmorderless.labels.checks import LabelSets
from mmorderless.labels.vocabulary import IGNORE


def label_mask(targets: LabelSets, num_labels: int, num_classes: int, like: Tensor) -> Tensor:
    """Check label sets and write them as a mask.

    Args:
        targets: B one-dimensional index tensors, or a multi-hot tensor (B, C).
        num_labels: the most labels of an image.
        num_classes: C.
        like: a tensor of B rows on the wanted device.

    Returns:
        Which classes are an image's labels, shape (B, C), bool.

    Raises:
        ValueError: a label is out of range or given twice, or a multi-hot entry is neither 0 nor 1.
    """
    shape = (len(like), num_labels + 1, num_classes + 1)
    blank = torch.zeros(shape, device=like.device)
    tokens = ordered_targets(blank, targets, torch.arange(num_classes, device=like.device))
    mask = torch.zeros(len(like), num_classes + 1, dtype=torch.bool, device=like.device)
    mask.scatter_(1, tokens.masked_fill(tokens == IGNORE, num_classes), True)
    return mask[:, :num_classes]


def remaining_labels(tokens: Tensor, labels: Tensor) -> Tensor:
    """Labels of each image that no step before emitted.

    Args:
        tokens: what each step emitted, shape (B, T).
        labels: which classes are an image's labels, shape (B, C), bool.

    Returns:
        Shape (B, T, C), bool: entry [i, t, c] says whether c is a label of image i and not among
        the tokens of the steps before t.
    """
    num_classes = labels.shape[1]
    emits = F.one_hot(tokens, num_classes + 1)[:, :, :num_classes]  # (B, T, C)
    emitted_before = emits.cumsum(1) > emits
    return labels[:, None] & ~emitted_before
