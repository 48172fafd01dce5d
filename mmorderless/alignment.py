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

from collections.abc import Callable, Sequence
from functools import cache
from itertools import permutations
from typing import NamedTuple, Optional, Union

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .transfer import to_device, to_host
from .vocabulary import IGNORE, Vocabulary

LabelSets = Union[Sequence[Tensor], Tensor]
"""Per image a 1-D tensor of class indices, or a multi-hot tensor (B, C)."""

MOST_ENUMERATED = 5
"""Blocks up to this size are solved by trying all orders (120); SciPy is faster beyond."""


class _Sets(NamedTuple):
    """Label sets of a batch on the host, flat: image after image, ascending within an image.

    Args:
        labels: class indices, shape (F,).
        counts: n_i, shape (B,).
        most: the largest n_i.
        image: which image each label, and each step t < n_i, belongs to, shape (F,).
        step: t, shape (F,).
        base: C + 2 times the image, so that `base` + token tells images apart, shape (F,).
        key: `base` + label, ascending throughout, shape (F,).
    """

    labels: np.ndarray
    counts: np.ndarray
    most: int
    image: np.ndarray
    step: np.ndarray
    base: np.ndarray
    key: np.ndarray


class _Batch(NamedTuple):
    """What the host needs to know of a batch.

    Args:
        sets: the label sets.
        scores: logits, float32, flat.
        rows: where in `scores` the logits of each step t < n_i begin, shape (F,).
        columns: how far behind that a label's logit is, shape (F,).
        predicted: arg max of each step t < n_i, shape (F,); when it was asked for.
        ranks: place of each label in a given order, shape (F,); when an order was given.
    """

    sets: _Sets
    scores: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    predicted: Optional[np.ndarray]
    ranks: Optional[np.ndarray]


def check_room(num_labels: int, num_steps: int) -> None:
    """Raise a ValueError when labels and END do not fit into the decoding steps."""
    if num_labels + 1 > num_steps:
        raise ValueError(
            f"cannot place {num_labels} labels in {num_steps} decoding steps; "
            f"raise max_steps to at least {num_labels + 1} (labels + END)"
        )


# Public -----------------------------------------------------------------------------------------


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
    return _align_costs(cost, num_labels, None)


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
    return _align_costs(cost, num_labels, predicted_position)


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


# Orders: which of the flat labels each flat step gets ---------------------------------------------


def _min_loss(batch: _Batch) -> np.ndarray:
    """Position of the label of each step, shape (F,): the least summed cost."""
    return _assign(batch.scores, batch.rows, batch.columns, batch.sets.counts)


def _around_predictions(batch: _Batch) -> np.ndarray:
    """Position of the label of each step, shape (F,): hits stay, the rest at least cost.

    A label that several steps predict stays at the first of them.
    """
    sets = batch.sets
    assert batch.predicted is not None
    predicted = sets.base + batch.predicted
    position = sets.key.searchsorted(predicted)  # (F,), F where it is beyond all
    hits = (sets.key.take(position, mode="clip") == predicted).nonzero()[0]
    if len(hits) == 0:
        return _min_loss(batch)
    first = np.full(len(position), -1)  # (F,), by label: the step at which it is pinned
    first[position[hits[::-1]]] = hits[::-1]  # what is written last stays: the first step
    pinned_labels, free_labels = (first >= 0).nonzero()[0], (first < 0).nonzero()[0]
    order = np.full(len(position), -1)  # (F,), by step: its label
    order[first[pinned_labels]] = pinned_labels
    free_steps = (order < 0).nonzero()[0]
    sizes = np.bincount(sets.image[free_steps], minlength=len(sets.counts))
    choice = _assign(batch.scores, batch.rows[free_steps], batch.columns[free_labels], sizes)
    order[free_steps] = free_labels[choice]
    return order


def _by_rank(batch: _Batch) -> np.ndarray:
    """Position of the label of each step, shape (F,): by rank within each image."""
    assert batch.ranks is not None
    return np.lexsort((batch.ranks, batch.sets.image))


def _assign(
    scores: np.ndarray, rows: np.ndarray, columns: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    """Assign labels to steps so that the summed score is greatest, block by block.

    A block is what is to be assigned in an image: as many steps as labels, one after the other.

    Args:
        scores: flat.
        rows: where in `scores` each step begins, shape (M,).
        columns: how far behind that each label is, shape (M,).
        sizes: number of steps of each block, shape (B,); they sum up to M.

    Returns:
        Which label each step gets, 0 … M − 1, shape (M,).
    """
    ends = sizes.cumsum()
    choice = np.arange(len(rows))
    few = ((sizes > 1) & (sizes <= MOST_ENUMERATED)).nonzero()[0]
    if len(few):
        size = sizes[few]
        known = _orders(int(size.max()))
        inside = known.inside[size]  # (blocks, most)
        first = (ends[few] - size)[:, None]
        at = (first + known.orders[0]) * inside
        block = scores.take(rows[at][:, :, None] + columns[at][:, None, :])
        block = block.reshape(len(few), -1) * known.both_inside[size]  # beyond: must not count
        summed = block @ known.places  # (blocks, P), float64
        summed += known.barred[size]
        choice[at[inside]] = (first + known.orders[summed.argmax(1)])[inside]
    many = (sizes > MOST_ENUMERATED).nonzero()[0]
    for end, n in zip(ends[many].tolist(), sizes[many].tolist()):
        here = slice(end - n, end)
        block = scores.take(rows[here, None] + columns[here])
        choice[here] = choice[here][linear_sum_assignment(block, True)[1]]  # the greatest sum
    return choice


class _Orders(NamedTuple):
    """All P orders of so many labels, for enumeration.

    Args:
        orders: shape (P, size); the first is 0, 1, …
        places: for each the matrix with ones where it puts a label, flattened and transposed,
            shape (size², P).
        barred: by block size what bars the orders that move a label outside the block: 0 or −∞,
            shape (size + 1, P).
        inside: by block size which slots are the block's, shape (size + 1, size).
        both_inside: the same for pairs of slots: 1 or 0, shape (size + 1, size²).
    """

    orders: np.ndarray
    places: np.ndarray
    barred: np.ndarray
    inside: np.ndarray
    both_inside: np.ndarray


@cache
def _orders(size: int) -> _Orders:
    orders = np.array(list(permutations(range(size))))  # (P, size)
    places = np.zeros((len(orders), size, size))
    places[np.arange(len(orders))[:, None], np.arange(size), orders] = 1
    stays = np.cumprod((orders == np.arange(size))[:, ::-1], 1)[:, ::-1]  # from this slot on
    barred = np.zeros((size + 1, len(orders)))
    barred[:size] = np.where(stays.T, 0, -np.inf)
    inside = np.arange(size) < np.arange(size + 1)[:, None]
    both = (inside[:, :, None] & inside[:, None, :]).reshape(size + 1, -1).astype(np.float64)
    return _Orders(orders, places.reshape(len(orders), -1).T.copy(), barred, inside, both)


# Reading a batch --------------------------------------------------------------------------------


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


def _copy_at_once(parts: dict[str, Tensor]) -> dict[str, np.ndarray]:
    """Copy tensors (B, …) to the host together; floats as float32, the others as int64."""
    bits = [
        part.float().view(torch.int32) if part.is_floating_point() else part.int()
        for part in parts.values()
    ]
    host = to_host(torch.cat(bits, 1))
    ends = np.cumsum([part.shape[1] for part in bits])
    pieces = np.split(host, ends[:-1], axis=1)
    return {
        name: piece.view(np.float32) if part.is_floating_point() else piece.astype(np.int64)
        for (name, part), piece in zip(parts.items(), pieces)
    }


def _sort_sets(
    labels: np.ndarray, counts: np.ndarray, num_classes: int, num_steps: int
) -> tuple[_Sets, np.ndarray]:
    """Check flat labels and sort them within each image.

    Sorted labels make exact ties between costs independent of the order given.

    Args:
        labels: image after image, shape (F,).
        counts: n_i, shape (B,).
        num_classes: C.
        num_steps: T.

    Returns:
        The sets, and where each of their labels was before, shape (F,).
    """
    most = int(counts.max())
    check_room(most, num_steps)
    image, step = _places(counts)
    order = np.arange(len(labels))
    # Room for END, and for −1, which falls between two images: `_around_predictions` looks tokens
    # up in the keys.
    base = image * (num_classes + 2)
    key = base + labels
    if len(labels) and labels.view(np.uint64).max() >= num_classes:  # negative ones are huge
        wrong = image[(labels < 0) | (labels >= num_classes)][0]
        raise _bad_set(
            wrong,
            f"holds an index outside 0 … {num_classes - 1}; compare num_classes with the "
            "annotation file",
        )
    if not (key[1:] > key[:-1]).all():
        order = key.argsort(kind="stable")
        key, labels = key[order], labels[order]
        twice = (key[1:] == key[:-1]).nonzero()[0]
        if len(twice):
            raise _bad_set(
                image[twice[0]], "names a class twice; remove duplicates from the annotation file"
            )
    return _Sets(labels, counts, most, image, step, base, key), order


def _places(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image, and place 0 … n_i − 1 within it, of each flat label, shape (F,) each."""
    image = np.repeat(np.arange(len(counts)), counts)
    return image, np.arange(len(image)) - (counts.cumsum() - counts)[image]


def _bad_set(image: int, what: str) -> ValueError:
    return ValueError(f"the label set of image {image} of the batch {what}")


def _flatten(targets: Sequence[Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Labels of all sets, shape (F,), and how many each has, shape (B,), on the host.

    Raises:
        ValueError: a set is not a 1-D tensor of integers.
    """
    try:
        labels = torch.cat(tuple(targets))
    except (TypeError, RuntimeError):
        labels = None
    if labels is None or labels.dim() != 1 or labels.dtype != torch.int64:
        _check_index_sets(targets)  # raises, unless only empty sets have another kind of type
        labels = torch.cat([wanted.long() for wanted in targets])
    counts = np.fromiter(map(Tensor.numel, targets), np.int64, len(targets))
    return labels.cpu().numpy().astype(np.int64, copy=False), counts


def _check_index_sets(targets: Sequence[Tensor]) -> None:
    """Raise a ValueError when a label set is not a 1-D tensor of integers."""
    for labels in targets:
        if not isinstance(labels, Tensor) or labels.dim() != 1:
            got = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
            raise ValueError(f"each label set must be a 1-D tensor of class indices, got {got}")
        if (labels.is_floating_point() or labels.dtype == torch.bool) and len(labels) > 0:
            raise ValueError(f"class indices must be integers, got {labels.dtype}")


def _check_multi_hot_shape(targets: Tensor, num_classes: int) -> None:
    if targets.dim() != 2 or targets.shape[1] != num_classes:
        raise ValueError(
            f"multi-hot targets must have shape (B, {num_classes}), got {tuple(targets.shape)}; "
            "pass index sets as a list of 1-D tensors"
        )


def _check_binary(faulty: np.ndarray) -> None:
    """Raise a ValueError when a multi-hot row (B,) has values other than 0 and 1."""
    if faulty.any():
        raise _bad_set(
            np.flatnonzero(faulty)[0],
            "is multi-hot with values other than 0 and 1; soft labels (Mixup, CutMix) cannot be "
            "put into a sequence: set model.train_cfg=None",
        )


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


def _align_costs(cost: Tensor, num_labels: Tensor, predicted_position: Optional[Tensor]) -> Tensor:
    """What `align_min_loss` and, with predictions, `align_predicted` return."""
    if len(cost) == 0:
        raise ValueError("no costs: the batch is empty")
    if cost.dim() != 3 or cost.shape[1] != cost.shape[2] or num_labels.shape != cost.shape[:1]:
        raise ValueError(
            f"cost must have shape (B, N, N) and num_labels (B,), got {tuple(cost.shape)} and "
            f"{tuple(num_labels.shape)}"
        )
    if predicted_position is not None and predicted_position.shape != cost.shape[:2]:
        raise ValueError(
            f"predicted_position must have shape {tuple(cost.shape[:2])}, got "
            f"{tuple(predicted_position.shape)}"
        )
    width = cost.shape[1]
    parts = {"score": -cost.detach().float().flatten(1), "count": num_labels[:, None]}
    if predicted_position is not None:
        parts["predicted"] = predicted_position
    host = _copy_at_once(parts)
    counts = host["count"][:, 0]
    if counts.max() > width:
        raise ValueError(f"num_labels must be at most {width}, got {int(counts.max())}")
    image, step = _places(counts)
    inside = np.arange(width) < counts[:, None]  # (B, N)
    inside = inside[:, :, None] & inside[:, None, :]
    scores = np.where(inside, host["score"].reshape(len(counts), width, width), 0)
    bad = ~np.isfinite(scores).all((1, 2))
    if bad.any():
        raise ValueError(f"a cost of image {bad.argmax()} of the batch is not finite")
    base = image * (width + 2)
    sets = _Sets(step, counts, int(counts.max()), image, step, base, base + step)
    predicted = None
    if predicted_position is not None:
        predicted = host["predicted"][image, step]
        predicted[predicted >= width] = -1  # no label's position
    rows = (image * width + step) * width
    batch = _Batch(sets, scores.reshape(-1), rows, step, predicted, None)
    order = _min_loss(batch) if predicted is None else _around_predictions(batch)
    label_of_step = np.full((len(counts), width), -1)
    label_of_step[image, step] = step[order]
    return to_device(label_of_step, cost.device)
