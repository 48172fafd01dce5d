"""Align label sets with predicted sequences: MLA (Eq. 4) and PLA (Eq. 5), exact and batched.

Letters: B images, C classes, T decoding steps, n_i labels of image i, N = the largest n_i.
Tokens: see `vocabulary`; logits have C + 1 entries, END is the last.

Every step is used exactly once, so a step's log-partition cannot change which assignment is
cheapest: all functions work on −logits, without a softmax. Nothing here is differentiated. A
batch pays one copy to the host (costs and checks together) and at most one copy back; targets that
are not on the device of the logits pay one more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Union

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .transfer import to_device, to_host
from .vocabulary import IGNORE, Vocabulary

LabelSets = Union[Sequence[Tensor], Tensor]
"""Per image a 1-D tensor of class indices, or a multi-hot tensor (B, C)."""

Check = Callable[[np.ndarray], None]
"""Raises a ValueError when a report, one image a row, calls for it."""

NO_IMAGES = "no label sets: the batch is empty"
_OUT_OF_RANGE, _DUPLICATE, _NOT_BINARY = 1, 2, 4  # bits of PackedLabels.faults
_ABSENT = 2**52  # sorts behind every label, and survives the float64 that PyTorch pads with


@dataclass(frozen=True)
class PackedLabels:
    """Label sets as tensors on the device of the logits.

    Args:
        labels: class indices, ascending, clamped to the classes, shape (B, N).
        present: which entries of `labels` are labels and not padding, shape (B, N).
        num_labels: n_i, shape (B,); larger than N when a multi-hot row does not fit.
        faults: bits of what is wrong with a set (range, duplicates), shape (B,).
    """

    labels: Tensor
    present: Tensor
    num_labels: Tensor
    faults: Tensor


def pack_labels(
    targets: LabelSets, num_classes: int, num_steps: int, device: torch.device
) -> PackedLabels:
    """Sort and pad label sets, noting faults without waiting for the device.

    Labels are sorted so that exact ties between costs do not depend on the order given.

    Args:
        targets: B one-dimensional index tensors, or a multi-hot tensor (B, C) of 0 and 1.
        num_classes: C.
        num_steps: T, the steps available for the labels and END.
        device: where the result lives.

    Raises:
        ValueError: the shape of `targets` is wrong, or a set given by indices does not fit.
    """
    if isinstance(targets, Tensor):
        if targets.dim() != 2 or targets.shape[1] != num_classes:
            raise ValueError(
                f"multi-hot targets must have shape (B, {num_classes}), got "
                f"{tuple(targets.shape)}; pass index sets as a list of 1-D tensors"
            )
        if len(targets) == 0:
            raise ValueError(NO_IMAGES)
        hot = targets if targets.device == device else to_device(targets, device)
        positive = hot != 0
        width = max(1, min(num_classes, num_steps - 1))
        labels = positive.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices
        num_labels = positive.sum(1)
        present = torch.arange(width, device=device) < num_labels[:, None]  # (B, N)
        faults = _NOT_BINARY * ((hot != 0) & (hot != 1)).any(1)
        return PackedLabels(labels[:, :width], present, num_labels, faults)

    if len(targets) == 0:
        raise ValueError(NO_IMAGES)
    for labels in targets:
        if not isinstance(labels, Tensor) or labels.dim() != 1:
            got = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
            raise ValueError(f"each label set must be a 1-D tensor of class indices, got {got}")
        if len(labels) > 0 and labels.is_floating_point():
            raise ValueError(f"class indices must be integers, got {labels.dtype}")
    check_room(max(len(labels) for labels in targets), num_steps)
    padded = pad_sequence([labels.long() for labels in targets], True, _ABSENT)
    if padded.shape[1] == 0:  # one column of padding keeps every shape below non-empty
        padded = padded.new_full((len(targets), 1), _ABSENT)
    if padded.device != device:
        padded = to_device(padded, device)
    padded = padded.sort(dim=1).values  # (B, N)
    present = padded != _ABSENT
    wrong = present & ((padded < 0) | (padded >= num_classes))
    twice = present[:, 1:] & (padded[:, 1:] == padded[:, :-1])
    faults = _OUT_OF_RANGE * wrong.any(1) + _DUPLICATE * twice.any(1)
    # A bad index would kill a CUDA context: clamp before any gather, raise after the copy.
    return PackedLabels(padded.clamp(0, num_classes - 1), present, present.sum(1), faults)


def check_room(num_labels: int, num_steps: int) -> None:
    """Raise a ValueError when labels and END do not fit into the decoding steps."""
    if num_labels + 1 > num_steps:
        raise ValueError(
            f"cannot place {num_labels} labels in {num_steps} decoding steps; "
            f"raise max_steps to at least {num_labels + 1} (labels + END)"
        )


@torch.no_grad()
def align_min_loss(cost: Tensor, num_labels: Tensor) -> Tensor:
    """Assign labels to steps so that the summed cost is least (MLA, Eq. 4).

    Args:
        cost: cost of label j at step t (cross-entropy in nats, or −logit), shape (B, N, N).
        num_labels: n_i, shape (B,).

    Returns:
        label_of_step, shape (B, N): entry [i, t] is the position of step t's label; −1 where
        t ≥ n_i.

    Raises:
        ValueError: shapes do not match, or a cost that counts is not finite.
    """
    present, report, check = _examine_costs(cost, num_labels)
    return _solve(cost, num_labels, check, report).masked_fill(~present, -1)


@torch.no_grad()
def align_predicted(cost: Tensor, num_labels: Tensor, predicted_position: Tensor) -> Tensor:
    """Keep correctly predicted labels at their step, assign the rest at least cost (PLA, Eq. 5).

    A label that is predicted more than once stays at its first step: Eq. 5 read literally has no
    solution there.

    Args:
        cost: cost of label j at step t, shape (B, N, N).
        num_labels: n_i, shape (B,).
        predicted_position: position j of the label that step t predicts; −1 where the prediction
            is none of the image's labels, shape (B, N). Steps t ≥ n_i are not looked at.

    Returns:
        label_of_step, shape (B, N), as `align_min_loss` returns it.

    Raises:
        ValueError: shapes do not match, or a cost that counts is not finite.
    """
    present, report, check = _examine_costs(cost, num_labels)
    if predicted_position.shape != present.shape:
        raise ValueError(
            f"predicted_position must have shape {tuple(present.shape)}, got "
            f"{tuple(predicted_position.shape)}"
        )
    positions = torch.arange(cost.shape[1], device=cost.device)
    hit = predicted_position[:, :, None] == positions  # (B, step, label)
    return _align_around(cost, present, hit, check, report)


@torch.no_grad()
def min_loss_targets(logits: Tensor, targets: LabelSets) -> Tensor:
    """Target token of every step by minimal loss alignment (MLA, Eq. 4).

    Args:
        logits: shape (B, T, C + 1), any float type; steps after max n_i + 1 are ignored.
        targets: B one-dimensional index tensors, or a multi-hot tensor (B, C).

    Returns:
        Tokens, shape (B, T): the aligned labels at steps t < n_i, END at t = n_i, IGNORE after.

    Raises:
        ValueError: a label is out of range or given twice, the labels do not fit into the steps,
            or a logit is not finite (the message names the image's place in the batch).
    """
    batch = _Batch(logits, targets)
    column = _solve(batch.cost(), batch.packed.num_labels, batch.check, batch.report())
    return batch.tokens(batch.packed.labels.gather(1, column))


@torch.no_grad()
def predicted_label_targets(logits: Tensor, targets: LabelSets) -> Tensor:
    """Target token of every step by predicted label alignment (PLA, Eq. 5).

    Among the first n_i steps, a step whose arg max is one of the image's labels keeps it (at its
    first occurrence); the remaining labels go to the remaining steps at least summed loss.

    Args:
        logits: shape (B, T, C + 1), any float type; steps after max n_i + 1 are ignored.
        targets: B one-dimensional index tensors, or a multi-hot tensor (B, C).

    Returns:
        Tokens, shape (B, T), as `min_loss_targets` returns them.

    Raises:
        ValueError: as `min_loss_targets`.
    """
    batch = _Batch(logits, targets)
    packed = batch.packed
    predicted = batch.steps.argmax(2)  # (B, N)
    hit = (predicted[:, :, None] == packed.labels[:, None, :]) & packed.present[:, None, :]
    label_of_step = _align_around(batch.cost(), packed.present, hit, batch.check, batch.report())
    return batch.tokens(packed.labels.gather(1, label_of_step.clamp(min=0)))


@torch.no_grad()
def ordered_targets(logits: Tensor, targets: LabelSets, ranks: Tensor) -> Tensor:
    """Target token of every step when the labels keep a given order.

    Args:
        logits: shape (B, T, C + 1); only checked, never used to order.
        targets: B one-dimensional index tensors, or a multi-hot tensor (B, C).
        ranks: place of each class in the order, shape (C,), or per image, shape (B, C).

    Returns:
        Tokens, shape (B, T), as `min_loss_targets` returns them.

    Raises:
        ValueError: as `min_loss_targets`, or `ranks` is not of C classes.
    """
    batch = _Batch(logits, targets)
    packed, num_classes = batch.packed, batch.vocabulary.num_classes
    if ranks.shape not in ((num_classes,), (len(logits), num_classes)):
        raise ValueError(
            f"the order ranks {ranks.shape[-1]} classes (shape {tuple(ranks.shape)}), the logits "
            f"have {num_classes}; the head's num_classes and the dataset's classes disagree"
        )
    if ranks.device != logits.device:
        ranks = to_device(ranks, logits.device)
    ranks = ranks.expand(len(packed.labels), num_classes)
    key = ranks.gather(1, packed.labels)
    last = torch.finfo(key.dtype).max if key.is_floating_point() else torch.iinfo(key.dtype).max
    order = key.masked_fill(~packed.present, last).argsort(dim=1, stable=True)
    batch.check(to_host(batch.report()))
    return batch.tokens(packed.labels.gather(1, order))


class _Batch:
    """Logits and label sets of one batch, with what the strategies share."""

    def __init__(self, logits: Tensor, targets: LabelSets) -> None:
        if logits.dim() != 3 or logits.shape[2] < 2:
            raise ValueError(f"logits must have shape (B, T, C + 1), got {tuple(logits.shape)}")
        if len(targets) != len(logits):
            raise ValueError(f"got {len(targets)} label sets for {len(logits)} images of logits")
        self.num_steps = logits.shape[1]
        self.vocabulary = Vocabulary(logits.shape[2] - 1)
        self.packed = pack_labels(
            targets, self.vocabulary.num_classes, self.num_steps, logits.device
        )
        width = self.packed.labels.shape[1]
        self.logits = logits.detach()[:, : width + 1]  # (B, ≤ N + 1, C + 1)
        self.steps = self.logits[:, :width]  # (B, N, C + 1)

    def cost(self) -> Tensor:
        """Cost −logit of label j at step t, float32, shape (B, N, N)."""
        labels = self.packed.labels
        return -self.steps.gather(2, labels[:, None, :].expand(-1, labels.shape[1], -1)).float()

    def report(self) -> Tensor:
        """Per image n_i, the faults and the first step that is not finite, shape (B, 3)."""
        # In float32, as everything below: a float64 beyond its range is not finite here.
        finite = self.logits.float().isfinite().all(2)  # (B, ≤ N + 1)
        first_bad = finite.to(torch.int64).cumprod(1).sum(1)
        return torch.stack([self.packed.num_labels, self.packed.faults, first_bad], 1)

    def check(self, report: np.ndarray) -> None:
        """Raise the ValueError that the report calls for."""
        num_labels, faults, first_bad = (report[:, k].astype(np.int64) for k in range(3))
        most = int(num_labels.max())
        if faults.any():
            image = int(np.flatnonzero(faults)[0])
            what = {
                _OUT_OF_RANGE: f"holds an index outside 0 … {self.vocabulary.num_classes - 1}; "
                "compare num_classes with the annotation file",
                _DUPLICATE: "names a class twice; remove duplicates from the annotation file",
                _NOT_BINARY: "is multi-hot with values other than 0 and 1; soft labels (Mixup, "
                "CutMix) cannot be put into a sequence: set model.train_cfg=None",
            }
            bit = int(faults[image]) & -int(faults[image])
            raise ValueError(f"the label set of image {image} of the batch {what[bit]}")
        check_room(most, self.num_steps)
        bad = np.flatnonzero(first_bad <= most)
        if bad.size:
            raise ValueError(
                f"the logits of image {bad[0]} of the batch are not finite (first at step "
                f"{first_bad[bad[0]]}); lower the learning rate, clip gradients, or use bf16 "
                "instead of fp16"
            )

    def tokens(self, labels_of_steps: Tensor) -> Tensor:
        """Write labels (B, N), END and IGNORE into targets, shape (B, T)."""
        count = self.packed.num_labels[:, None]
        step = torch.arange(self.num_steps, device=count.device)  # (T,)
        tokens = torch.full_like(step.expand(len(count), -1), IGNORE)  # (B, T)
        tokens[:, : labels_of_steps.shape[1]] = labels_of_steps
        tokens = tokens.masked_fill(step == count, self.vocabulary.end)
        return tokens.masked_fill(step > count, IGNORE)


def _align_around(
    cost: Tensor, present: Tensor, hit: Tensor, check: Check, report: Tensor
) -> Tensor:
    """Pin hits at their first step and solve for what is left; label_of_step, shape (B, N)."""
    hit = hit & present[:, :, None] & present[:, None, :]  # (B, step, label)
    hit = hit & (hit.cumsum(1) == 1)
    pinned_step, pinned_label = hit.any(2), hit.any(1)  # (B, N) each
    free_step, free_label = present & ~pinned_step, present & ~pinned_label
    num_free = free_step.sum(1)
    # The pinned rows and columns are removed: the free ones move to the front, in order.
    steps = (~free_step).to(torch.uint8).argsort(dim=1, stable=True)
    labels = (~free_label).to(torch.uint8).argsort(dim=1, stable=True)
    width = cost.shape[1]
    rest = cost.gather(1, steps[:, :, None].expand(-1, -1, width))
    rest = rest.gather(2, labels[:, None, :].expand(-1, width, -1))
    column = _solve(rest, num_free, check, report)
    assigned = labels.gather(1, column)
    pinned = hit.to(torch.uint8).argmax(2).masked_fill(~pinned_step, -1).gather(1, steps)
    is_free = torch.arange(width, device=cost.device) < num_free[:, None]
    return torch.empty_like(steps).scatter_(1, steps, torch.where(is_free, assigned, pinned))


def _solve(cost: Tensor, num_free: Tensor, check: Check, report: Tensor) -> Tensor:
    """Solve the leading (num_free × num_free) block of every matrix.

    Args:
        cost: shape (B, N, N).
        num_free: size of each image's block, shape (B,).
        check: called with the report on the host, before anything is solved.
        report: per-image numbers that travel with the costs, shape (B, R).

    Returns:
        Column of each row, shape (B, N); the identity outside the blocks.
    """
    batch, width = cost.shape[:2]
    columns = torch.arange(width, device=cost.device).expand(batch, width)
    inside = columns < num_free[:, None]
    cost = cost.float().masked_fill(~(inside[:, :, None] & inside[:, None, :]), 0)
    # One copy for all: float32 holds every index and count below 2^24 exactly.
    host = to_host(torch.cat([cost.flatten(1), num_free[:, None].float(), report.float()], 1))
    area = width * width
    check(host[:, area + 1 :])
    sizes = host[:, area].astype(np.int64)
    hard = np.flatnonzero(sizes > 1)
    if hard.size == 0:
        return columns
    blocks = host[:, :area].reshape(batch, width, width)
    solved = [linear_sum_assignment(blocks[i, :n, :n])[1] for i, n in zip(hard, sizes[hard])]
    result = np.tile(np.arange(width), (batch, 1))
    rows = np.arange(width) < sizes[hard, None]  # (hard images, N)
    block = result[hard]
    block[rows] = np.concatenate(solved)
    result[hard] = block
    return to_device(result, cost.device)


def _examine_costs(cost: Tensor, num_labels: Tensor) -> tuple[Tensor, Tensor, Check]:
    """Check shapes; which steps count (B, N), the report and what checks it on the host."""
    if cost.dim() != 3 or cost.shape[1] != cost.shape[2] or num_labels.shape != cost.shape[:1]:
        raise ValueError(
            f"cost must have shape (B, N, N) and num_labels (B,), got {tuple(cost.shape)} and "
            f"{tuple(num_labels.shape)}"
        )
    width = cost.shape[1]
    present = torch.arange(width, device=cost.device) < num_labels[:, None]
    counts = present[:, :, None] & present[:, None, :]
    finite = (cost.float().isfinite() | ~counts).all(2).all(1)

    def check(report: np.ndarray) -> None:
        if report[:, 0].max(initial=0) > width:
            raise ValueError(f"num_labels must be at most {width}, got {int(report[:, 0].max())}")
        bad = np.flatnonzero(report[:, 1] == 0)
        if bad.size:
            raise ValueError(f"a cost of image {bad[0]} of the batch is not finite")

    return present, torch.stack([num_labels, finite], 1), check
