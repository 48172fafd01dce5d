"""Target tokens of label sets: aligned to logits (MLA, PLA) or in a given order.

Letters: B images, C classes, T decoding steps, n_i labels of image i, N = max n_i. Tokens: see
`vocabulary`; logits have C + 1 entries, END is the last.

Every step is used exactly once, so a step's log-partition cannot change which assignment is
cheapest: the cost is −logit, without a softmax. Nothing here is differentiated.

Logits are copied whole, in float32 and together with the labels, so that a batch waits for an
accelerator only once. The copy has 4·B·(N + 1)·(C + 1) bytes: 0.2 MB for COCO at B = 32; above some
64 MB (C in the ten thousands) it takes longer than the assignment.
"""

import numpy as np
import torch
from torch import Tensor

from mmorderless.alignment.assignment import align_min_loss, align_predicted
from mmorderless.labels.checks import (
    CheckedLabels,
    LabelSets,
    check_fits,
    pack_labels,
    unpack_labels,
)
from mmorderless.labels.vocabulary import IGNORE


@torch.compiler.disable  # Nothing to trace: it reads values on the CPU.
def check_finite(logits: Tensor, num_labels: int) -> None:
    """Check that all logits that a loss may count are finite; this waits for the device.

    Args:
        logits: shape (B, T, C + 1).
        num_labels: N; steps after N + 1 are ignored.

    Raises:
        ValueError: one is not; the message names its image and step.
    """
    # All images are checked up to step N: a NaN there would reach the gradient even of an image
    # that has fewer labels.
    counted = logits.detach()[:, : num_labels + 1].float().cpu()  # (B, N + 1, C + 1)
    is_finite = np.isfinite(counted.numpy()).all(2)
    if not is_finite.all():
        image, step = (~is_finite).nonzero()
        raise ValueError(
            f"the logits of image {image[0]} of the batch are not finite (first at step "
            f"{step[0]}); lower the learning rate, clip gradients, or use bf16 instead of fp16"
        )


def min_loss_targets(logits: Tensor, label_sets: LabelSets) -> Tensor:
    """Target token of every step by minimal loss alignment (MLA, Eq. 4).

    Args:
        logits: shape (B, T, C + 1), any float type; steps after N + 1 are ignored.
        label_sets: B one-dimensional tensors of class indices, or a multi-hot matrix (B, C).

    Returns:
        Tokens, int64, shape (B, T), on the device of the logits: the aligned labels at steps
        t < n_i, END at t = n_i, IGNORE after.

    Raises:
        ValueError: a label is out of range or repeated, the labels and END do not fit into T
            steps, or a logit is not finite.
    """
    scores, labels = read_batch(logits, label_sets)
    label_of_step = align_min_loss(_cost(scores, labels), labels.num_labels)
    return _to_device(_tokens(label_of_step, labels, logits.shape[1]), logits.device)


def predicted_label_targets(logits: Tensor, label_sets: LabelSets) -> Tensor:
    """Target token of every step by predicted label alignment (PLA, Eq. 5).

    Among the first n_i steps, a step whose arg max is one of the image's labels keeps it, at its
    first occurrence; the other labels are assigned to the other steps at minimum summed loss.

    Args:
        logits: shape (B, T, C + 1), any float type; steps after N + 1 are ignored.
        label_sets: B one-dimensional tensors of class indices, or a multi-hot matrix (B, C).

    Returns:
        Tokens, int64, shape (B, T), as from `min_loss_targets`.

    Raises:
        ValueError: as `min_loss_targets`.
    """
    scores, labels = read_batch(logits, label_sets)
    label_of_step = align_predicted(
        _cost(scores, labels), labels.num_labels, _predicted_position(scores, labels)
    )
    return _to_device(_tokens(label_of_step, labels, logits.shape[1]), logits.device)


def ordered_targets(labels: CheckedLabels, ranks: Tensor, num_steps: int) -> Tensor:
    """Target token of every step when the labels keep a given order.

    Args:
        labels: checked label sets of B images.
        ranks: place of each class in the order, shape (C,), or per image, shape (B, C); on the CPU.
        num_steps: T.

    Returns:
        Tokens, int64, shape (B, T), as from `min_loss_targets`, on the CPU.

    Raises:
        ValueError: the labels and END do not fit into T steps, or `ranks` is not of C classes.

    Example::

        >>> from mmorderless.labels.checks import check_labels
        >>> labels = check_labels([torch.tensor([0, 2]), torch.tensor([1])], num_classes=3)
        >>> ordered_targets(labels, torch.tensor([2, 1, 0]), num_steps=3)
        tensor([[   2,    0,    3],
                [   1,    3, -100]])
    """
    num_images, num_classes = len(labels.labels), labels.num_classes
    if ranks.shape not in ((num_classes,), (num_images, num_classes)):
        raise ValueError(
            f"the order ranks {ranks.shape[-1]} classes (shape {tuple(ranks.shape)}), the labels "
            f"have {num_classes}; the head's num_classes and the dataset's classes disagree"
        )
    rank = ranks.double().expand(num_images, num_classes)
    last = torch.full((num_images, 1), torch.inf)  # END's, which pads the labels
    rank_of_label = torch.cat([rank, last], 1).gather(1, labels.labels)  # (B, N)
    label_of_step = rank_of_label.sort(dim=1, stable=True).indices
    return _tokens(label_of_step, labels, num_steps)


@torch.no_grad()
def read_batch(logits: Tensor, label_sets: LabelSets) -> tuple[Tensor, CheckedLabels]:
    """Copy a batch to the CPU and check it.

    Returns:
        Logits up to step N − 1, float32, shape (B, N, C + 1), and the checked labels.

    Raises:
        ValueError: as `min_loss_targets`.
    """
    if logits.dim() != 3 or logits.shape[2] < 2:
        raise ValueError(f"logits must have shape (B, T, C + 1), got {tuple(logits.shape)}")
    if len(label_sets) != len(logits):
        raise ValueError(f"got {len(label_sets)} label sets for {len(logits)} images of logits")
    num_steps, num_classes = logits.shape[1], logits.shape[2] - 1
    packed, num_labels = pack_labels(label_sets, num_classes)
    if num_labels is not None:  # else only the device knows N, and all steps are copied
        most = max(len(labels) for labels in label_sets)
        check_fits(most, num_steps)
        logits = logits[:, : most + 1]
    scores, packed = copy_to_cpu(logits.detach(), packed)
    checked = unpack_labels(packed, num_labels, num_classes)
    most = checked.labels.shape[1]
    check_fits(most, num_steps)
    check_finite(scores, most)
    return scores[:, :most], checked


def copy_to_cpu(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Copy logits and labels to the CPU as float32, in a single transfer.

    float32 represents class indices below 2²⁴ exactly.
    """
    parts = [logits.flatten().float(), labels.flatten().to(logits.device).float()]
    values, indices = torch.cat(parts).cpu().split([logits.numel(), labels.numel()])
    return values.view(logits.shape), indices.view(labels.shape)


def _to_device(tokens: Tensor, device: torch.device) -> Tensor:
    """Copy tokens to a device; to CUDA from pinned memory, which does not wait for it."""
    if device.type == "cuda":
        tokens = tokens.pin_memory()
    return tokens.to(device, non_blocking=True)


def _cost(scores: Tensor, labels: CheckedLabels) -> Tensor:
    """Cost of each label at each step, −logit, shape (B, N, N)."""
    num_steps = scores.shape[1]
    return -scores.gather(2, labels.labels[:, None, :].expand(-1, num_steps, -1))


def _predicted_position(scores: Tensor, labels: CheckedLabels) -> Tensor:
    """Position of the label that each step predicts, −1 where it is none, shape (B, N)."""
    num_images, num_steps, num_outputs = scores.shape
    position_of_token = torch.full((num_images, num_outputs), -1)
    position_of_token.scatter_(1, labels.labels, torch.arange(num_steps).expand(num_images, -1))
    position_of_token[:, labels.num_classes] = -1  # END, which pads the labels, is none
    predicted = torch.from_numpy(scores.numpy().argmax(2))  # faster than torch's
    return position_of_token.gather(1, predicted)


def _tokens(label_of_step: Tensor, labels: CheckedLabels, num_steps: int) -> Tensor:
    """Write labels, END and IGNORE as tokens, shape (B, num_steps).

    Args:
        label_of_step: position of each step's label, shape (B, N); ignored where t ≥ n_i.
        labels: label sets of B images.
        num_steps: T.
    """
    num_images, most = label_of_step.shape
    check_fits(most, num_steps)
    tokens = torch.full((num_images, num_steps), IGNORE)
    tokens[:, :most] = labels.labels.gather(1, label_of_step.clamp(min=0))
    step, end = torch.arange(num_steps), labels.num_labels[:, None]
    return tokens.masked_fill_(step > end, IGNORE).masked_fill_(step == end, labels.num_classes)
