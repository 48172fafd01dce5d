"""Labels of an image that are still to be emitted.

Letters: B images, C classes, T steps.
"""

from torch import Tensor

from mmorderless.models.decoding.emission import emitted_before


def remaining_labels(tokens: Tensor, labels: Tensor) -> Tensor:
    """Return the labels of each image that no earlier step emitted.

    Args:
        tokens: the emitted tokens, shape (B, T).
        labels: which classes are an image's labels, shape (B, C), bool.

    Returns:
        Shape (B, T, C), bool: entry [i, t, c] says whether c is a label of image i and not among
        the tokens of the steps before t.
    """
    return labels[:, None] & ~emitted_before(tokens, labels.shape[1])
