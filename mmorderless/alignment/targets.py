"""Align label sets with predicted sequences: MLA (Eq. 4) and PLA (Eq. 5), exact and batched.

Letters: B images, C classes, T decoding steps, n_i labels of image i, N = the largest n_i,
F = Σ n_i. Tokens: see `vocabulary`; logits have C + 1 entries, END is the last.

Every step is used exactly once, so a step's log-partition cannot change which assignment is
cheapest: all functions work on −logits, without a softmax. Nothing here is differentiated.

A batch is read once (`_read_here`, `_read_there`), which on an accelerator is one copy to the host
that holds all that follows needs, and the tokens go back in one copy. In between there are arrays
of the F labels of all images, one after the other ("flat"), and no tensors: a handful of NumPy
calls a batch, however many images it has. Up to five labels are assigned by trying all orders at
once, as a product with the permutation matrices; SciPy solves the rare larger ones.
"""

from collections.abc import Callable
from typing import Optional

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mmorderless.alignment.assignment import _around_predictions, _Batch, _by_rank, _min_loss
from mmorderless.alignment.transfer import _copy_at_once, to_device, to_host
from mmorderless.labels.checks import (
    LabelSets,
    _check_binary,
    _check_index_sets,
    _check_multi_hot_shape,
    _flatten,
    _places,
    _sort_sets,
    check_room,
)
from mmorderless.labels.vocabulary import IGNORE, Vocabulary


@torch.compiler.disable  # the host's work: nothing to trace
def check_finite(logits: Tensor, num_labels: int) -> None:
    """Raise a ValueError when a logit that the loss may count is not finite.

    Args:
        logits: shape (B, T, C + 1).
        num_labels: the largest n_i; steps after n_i + 1 are ignored.
    """
    logits = logits.detach()
    if logits.device.type == "cpu" or not to_host(logits.isfinite().all()[None])[0]:
        _check_finite(to_host(logits.float()), num_labels)


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
    return _targets(logits, targets, _min_loss)


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
    return _targets(logits, targets, _around_predictions, predict=True)


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
    return _targets(logits, targets, _by_rank, ranks=ranks)


def _targets(
    logits: Tensor,
    targets: LabelSets,
    order: Callable[[_Batch], np.ndarray],
    predict: bool = False,
    ranks: Optional[Tensor] = None,
) -> Tensor:
    """Read a batch, put its labels in order and write the tokens, shape (B, T)."""
    if logits.dim() != 3 or logits.shape[2] < 2:
        raise ValueError(f"logits must have shape (B, T, C + 1), got {tuple(logits.shape)}")
    if len(targets) != len(logits):
        raise ValueError(f"got {len(targets)} label sets for {len(logits)} images of logits")
    if len(targets) == 0:
        raise ValueError("no label sets: the batch is empty")
    num_images, num_steps, num_outputs = logits.shape
    if ranks is not None and ranks.shape not in (
        (num_outputs - 1,),
        (num_images, num_outputs - 1),
    ):
        raise ValueError(
            f"the order ranks {ranks.shape[-1]} classes (shape {tuple(ranks.shape)}), the logits "
            f"have {num_outputs - 1}; the head's num_classes and the dataset's classes disagree"
        )
    read = _read_here if logits.device.type == "cpu" else _read_there
    batch = read(logits.detach(), targets, predict, ranks)
    sets = batch.sets
    tokens = np.full((num_images, num_steps), IGNORE)
    flat = tokens.reshape(-1)
    flat[sets.image * num_steps + sets.step] = sets.labels[order(batch)]
    flat[np.arange(0, len(flat), num_steps) + sets.counts] = Vocabulary(num_outputs - 1).end
    return to_device(tokens, logits.device)


def _read_here(
    logits: Tensor, targets: LabelSets, predict: bool, ranks: Optional[Tensor]
) -> _Batch:
    """Read a batch whose logits are in the host's memory."""
    num_classes = logits.shape[2] - 1
    scores = to_host(logits.float().contiguous())
    if isinstance(targets, Tensor):
        _check_multi_hot_shape(targets, num_classes)
        hot = targets.cpu().float().numpy()
        _check_binary(((hot != 0) & (hot != 1)).any(1))
        image, labels = np.nonzero(hot)
        counts = np.bincount(image, minlength=len(hot))
    else:
        labels, counts = _flatten(targets)
    sets, _ = _sort_sets(labels, counts, num_classes, logits.shape[1])
    _check_finite(scores, sets.most)
    place = sets.image * logits.shape[1] + sets.step  # (F,)
    predicted = scores.reshape(-1, num_classes + 1).take(place, 0).argmax(1) if predict else None
    rank = None
    if ranks is not None:
        rank = ranks.cpu().expand(len(counts), num_classes).numpy()[sets.image, sets.labels]
    rows = place * (num_classes + 1)
    return _Batch(sets, scores.reshape(-1), rows, sets.labels, predicted, rank)


def _read_there(
    logits: Tensor, targets: LabelSets, predict: bool, ranks: Optional[Tensor]
) -> _Batch:
    """Read a batch whose logits are on an accelerator, in one copy.

    The copy holds, as the bits of 32-bit integers, the labels' logits at the steps that can count,
    the labels, and what else was asked for. Nothing here waits for the device before it.
    """
    num_steps, num_classes = logits.shape[1], logits.shape[2] - 1
    device = logits.device
    faulty = None
    if isinstance(targets, Tensor):
        _check_multi_hot_shape(targets, num_classes)
        hot = targets if targets.device == device else to_device(targets, device)
        width = max(1, min(num_classes, num_steps - 1))
        positive = hot != 0
        padded = positive.to(torch.uint8).sort(dim=1, descending=True, stable=True).indices
        padded = padded[:, :width]  # (B, N)
        count = positive.sum(1, keepdim=True)  # (B, 1)
        faulty = ((hot != 0) & (hot != 1)).any(1, keepdim=True)
    else:
        _check_index_sets(targets)
        counts = np.array([wanted.numel() for wanted in targets])
        check_room(int(counts.max()), num_steps)
        width = max(1, int(counts.max()))
        padded = pad_sequence([wanted.long() for wanted in targets], True)
        padded = F.pad(padded, (0, width - padded.shape[1]))  # (B, N)
        if padded.device != device:
            padded = to_device(padded, device)
    # A bad index would kill a CUDA context: clamp before any gather, raise after the copy.
    safe = padded.clamp(0, num_classes - 1)
    steps = logits[:, :width]
    counted = logits[:, : width + 1].float()
    if faulty is not None:
        beyond = torch.arange(counted.shape[1], device=device) > count.max()
        counted = counted.masked_fill(beyond[:, None], 0)
    parts = {
        "scores": steps.gather(2, safe[:, None, :].expand(-1, width, -1)).float().flatten(1),
        "labels": padded.clamp(-1, num_classes),
        "square": counted.square().sum((1, 2))[:, None],
    }
    if faulty is not None:
        parts.update(count=count, faulty=faulty)
    if predict:
        parts["predicted"] = steps.argmax(2)
    if ranks is not None:
        if ranks.device != device:
            ranks = to_device(ranks, device)
        parts["ranks"] = ranks.expand(len(logits), num_classes).gather(1, safe).float()
    host = _copy_at_once(parts)

    if faulty is not None:
        _check_binary(host["faulty"][:, 0] != 0)
        counts = host["count"][:, 0]
        check_room(int(counts.max()), num_steps)
    image, column = _places(counts)
    sets, order = _sort_sets(host["labels"][image, column], counts, num_classes, num_steps)
    if not np.isfinite(host["square"]).all():
        _check_finite(to_host(logits.float()), sets.most)  # it is too late to save a copy
    column = column[order]
    rows = (sets.image * width + sets.step) * width
    predicted = host["predicted"][sets.image, sets.step] if predict else None
    rank = host["ranks"][sets.image, column] if ranks is not None else None
    return _Batch(sets, host["scores"].reshape(-1), rows, column, predicted, rank)


def _check_finite(scores: np.ndarray, most: int) -> None:
    """Raise a ValueError when a logit of the first most + 1 steps is not finite.

    All images are looked at up to the last step that any of them counts: a NaN there would reach
    the gradient, although the image's own steps have ended.
    """
    counted = scores[:, : most + 1]
    if np.isfinite(np.vdot(counted, counted)):  # one fast pass that any NaN or infinity spoils
        return
    bad = ~np.isfinite(counted).all(2)  # (B, most + 1)
    if bad.any():  # else the squares were too large, not the logits
        image = int(bad.any(1).argmax())
        raise ValueError(
            f"the logits of image {image} of the batch are not finite (first at step "
            f"{int(bad[image].argmax())}); lower the learning rate, clip gradients, or use bf16 "
            "instead of fp16"
        )
