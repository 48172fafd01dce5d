"""Target tokens of label sets: aligned to logits (MLA, PLA) or in a given order.

Letters: B images, C classes, T decoding steps, n_i labels of image i, N = max n_i. Tokens: see
`vocabulary`; logits have C + 1 entries, END is the last.

Every step is used exactly once, so a step's log-partition cannot change which assignment is
cheapest: the cost is −logit, without a softmax. Nothing here is differentiated.

Labels and logits are copied whole to the CPU, logits in float32: 4·B·(N + 1)·(C + 1) bytes, 0.2 MB
for COCO at B = 32; above some 64 MB (C in the ten thousands) this takes longer than the assignment.
"""

import numpy as np
import torch
from torch import Tensor

from mmorderless.alignment.assignment import align_min_loss, align_predicted
from mmorderless.labels.checks import CheckedLabels, LabelSets, check_fits, check_labels
from mmorderless.labels.vocabulary import IGNORE


def check_finite(logits: Tensor, num_labels: int) -> None:
    """Check that all logits that a loss may count are finite (synchronizes with the device).

    Args:
        logits: shape (B, T, C + 1).
        num_labels: N; only the first N + 1 steps are read.

    Raises:
        ValueError: one is not; the message names its image and step.
    """
    # All images are checked up to step N: a NaN there would reach the gradient even of an image
    # that has fewer labels.
    counted = logits.detach()[:, : num_labels + 1].float()  # (B, N + 1, C + 1)
    _check_finite(counted.isfinite().all(2).cpu().numpy())


def _check_finite(is_finite: np.ndarray) -> None:
    """Raise a ValueError unless everything is finite, flags of shape (B, N + 1, …)."""
    if not is_finite.all():
        image, step, *_ = (~is_finite).nonzero()
        raise ValueError(
            f"the logits of image {image[0]} of the batch are not finite (first at step "
            f"{step[0]}); lower the learning rate, clip gradients, or use bf16 instead of fp16"
        )


def min_loss_targets(logits: Tensor, label_sets: LabelSets) -> Tensor:
    """Target token of every step by minimal loss alignment (MLA, Eq. 4).

    Args:
        logits: shape (B, T, C + 1), any float type; only the first N + 1 steps are read.
        label_sets: B one-dimensional tensors of class indices, or a multi-hot matrix (B, C).

    Returns:
        Tokens, int64, shape (B, T), on the device of the logits: the aligned labels at steps
        t < n_i, END at t = n_i, IGNORE after.

    Raises:
        ValueError: a label is out of range or repeated, the labels and END do not fit into T
            steps, or a logit is not finite.
    """
    scores, labels = _read_batch(logits, label_sets)
    label_of_step = align_min_loss(_cost(scores, labels), torch.from_numpy(labels.num_labels))
    return _to_device(_tokens(label_of_step.numpy(), labels, logits.shape[1]), logits.device)


def predicted_label_targets(logits: Tensor, label_sets: LabelSets) -> Tensor:
    """Target token of every step by predicted label alignment (PLA, Eq. 5).

    A label that is the arg max of one of the first n_i steps belongs to the first such step; the
    other labels are assigned to the other steps at minimum summed loss.

    Args:
        logits: shape (B, T, C + 1), any float type; only the first N + 1 steps are read.
        label_sets: B one-dimensional tensors of class indices, or a multi-hot matrix (B, C).

    Returns:
        Tokens, int64, shape (B, T), as from `min_loss_targets`.

    Raises:
        ValueError: as `min_loss_targets`.
    """
    scores, labels = _read_batch(logits, label_sets)
    label_of_step = align_predicted(
        _cost(scores, labels),
        torch.from_numpy(labels.num_labels),
        _predicted_position(scores, labels),
    )
    return _to_device(_tokens(label_of_step.numpy(), labels, logits.shape[1]), logits.device)


def ordered_targets(labels: CheckedLabels, ranks: np.ndarray, num_steps: int) -> Tensor:
    """Target token of every step when the labels keep a given order.

    Args:
        labels: checked label sets of B images.
        ranks: rank of each class in the order, shape (C,), or per image, shape (B, C).
        num_steps: T.

    Returns:
        Tokens, int64, shape (B, T), as from `min_loss_targets`, on the CPU.

    Raises:
        ValueError: the labels and END do not fit into T steps, or `ranks` is not of C classes.

    >>> from mmorderless.labels.checks import check_labels
    >>> labels = check_labels([torch.tensor([0, 2]), torch.tensor([1])], num_classes=3)
    >>> ordered_targets(labels, np.array([2, 1, 0]), num_steps=3)
    tensor([[   2,    0,    3],
            [   1,    3, -100]])
    """
    num_images, num_classes = len(labels.labels), labels.num_classes
    if ranks.shape not in ((num_classes,), (num_images, num_classes)):
        raise ValueError(
            f"got ranks for {ranks.shape[-1]} classes (shape {ranks.shape}), but the labels have "
            f"{num_classes} classes; make the head's num_classes that of the dataset"
        )
    rank_of_token = np.full((num_images, num_classes + 1), np.inf)  # END, the padding, comes last
    rank_of_token[:, :num_classes] = ranks
    rank_of_label = np.take_along_axis(rank_of_token, labels.labels, axis=1)  # (B, N)
    return _tokens(rank_of_label.argsort(axis=1, kind="stable"), labels, num_steps)


def _read_batch(logits: Tensor, label_sets: LabelSets) -> tuple[np.ndarray, CheckedLabels]:
    """Copy a batch to the CPU and check it.

    Returns:
        Logits, float32, shape (B, N + 1, C + 1), and the checked labels.

    Raises:
        ValueError: as `min_loss_targets`.
    """
    if logits.dim() != 3 or logits.shape[2] < 2:
        raise ValueError(f"logits must have shape (B, T, C + 1), got {tuple(logits.shape)}")
    if len(label_sets) != len(logits):
        raise ValueError(f"got {len(label_sets)} label sets for {len(logits)} images of logits")
    labels = check_labels(label_sets, logits.shape[2] - 1)
    most = labels.labels.shape[1]
    check_fits(most, logits.shape[1])
    scores = logits.detach()[:, : most + 1].float().cpu().numpy()
    _check_finite(np.isfinite(scores))
    return scores, labels


def _to_device(tokens: Tensor, device: torch.device) -> Tensor:
    """Copy tokens to a device; to CUDA from pinned memory, which does not wait for it."""
    if device.type == "cuda":
        tokens = tokens.pin_memory()
    return tokens.to(device, non_blocking=True)


def _cost(scores: np.ndarray, labels: CheckedLabels) -> Tensor:
    """Cost of each label at each step, −logit, shape (B, N, N)."""
    most = labels.labels.shape[1]
    label = torch.from_numpy(labels.labels)[:, None, :].expand(-1, most, -1)
    return -torch.from_numpy(scores[:, :most]).gather(2, label)


def _predicted_position(scores: np.ndarray, labels: CheckedLabels) -> Tensor:
    """Position of the label that each step predicts, −1 where it is none, shape (B, N)."""
    num_images, most = labels.labels.shape
    image = np.arange(num_images)[:, None]
    position_of_token = np.full((num_images, labels.num_classes + 1), -1)
    position_of_token[image, labels.labels] = np.arange(most)
    position_of_token[:, labels.num_classes] = -1  # END, the padding, is no label
    return torch.from_numpy(position_of_token[image, scores.argmax(2)[:, :most]])


def _tokens(label_of_step: np.ndarray, labels: CheckedLabels, num_steps: int) -> Tensor:
    """Write labels, END and IGNORE as tokens, shape (B, num_steps).

    Args:
        label_of_step: position of each step's label, shape (B, N); ignored where t ≥ n_i.
        labels: label sets of B images.
        num_steps: T.
    """
    num_images, most = label_of_step.shape
    check_fits(most, num_steps)
    tokens = np.full((num_images, num_steps), IGNORE)
    tokens[:, :most] = labels.labels[np.arange(num_images)[:, None], label_of_step]
    step, end = np.arange(num_steps), labels.num_labels[:, None]
    tokens[step > end] = IGNORE
    tokens[step == end] = labels.num_classes
    return torch.from_numpy(tokens)
