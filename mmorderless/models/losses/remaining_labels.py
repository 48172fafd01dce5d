"""Labels of an image that are still to be emitted.

Letters: B images, C classes, T steps.
"""

import torch.nn.functional as F
from torch import Tensor


def remaining_labels(tokens: Tensor, labels: Tensor) -> Tensor:
    """Return the labels of each image that no earlier step emitted.

    Args:
        tokens: the emitted tokens, shape (B, T).
        labels: which classes are an image's labels, shape (B, C), bool.

    Returns:
        Shape (B, T, C), bool: entry [i, t, c] says whether c is a label of image i and not among
        the tokens of the steps before t.
    """
    num_classes = labels.shape[1]
    emits = F.one_hot(tokens, num_classes + 1)[:, :, :num_classes]  # (B, T, C)
    emitted_before = emits.cumsum(1) > emits
    return labels[:, None] & ~emitted_before
