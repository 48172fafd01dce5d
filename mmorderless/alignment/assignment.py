"""Assign labels to steps: MLA (Eq. 4) and PLA (Eq. 5)."""

from functools import cache
from itertools import permutations
from typing import NamedTuple, Optional

import numpy as np
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmorderless.alignment.transfer import _copy_at_once, to_device
from mmorderless.labels.checks import _places, _Sets

MOST_ENUMERATED = 5
"""Blocks up to this size are solved by trying all orders (120); SciPy is faster beyond."""


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
