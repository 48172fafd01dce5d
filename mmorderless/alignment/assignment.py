"""Assign labels to steps: minimal loss alignment (MLA, Eq. 4) and predicted label alignment (PLA,
Eq. 5), exact, for a batch of cost matrices.

Letters: B images, n_i labels of image i, N rows (steps) and columns (an image's labels) of a cost
matrix. An image's block is its first n_i steps and labels; what lies outside is ignored.
`targets.py` makes the costs from logits, and `models/losses/aligned.py` has the losses.
"""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor


def align_min_loss(cost: Tensor, num_labels: Tensor) -> Tensor:
    """Assign labels to steps at minimum summed cost (MLA, Eq. 4).

    Args:
        cost: cost of label j at step t, shape (B, N, N): cross-entropy in nats, or −logit, which
            differs from it by a constant per step.
        num_labels: n_i, shape (B,).

    Returns:
        label_of_step, int64, shape (B, N): entry [i, t] is the column of step t's label, −1 where
        t ≥ n_i.

    Raises:
        ValueError: the shapes do not match, or a cost inside a block is not finite.

    >>> cost = torch.tensor([[[0.1, 0.2], [0.3, 0.9]]])
    >>> align_min_loss(cost, torch.tensor([2]))  # 0.2 + 0.3 < 0.1 + 0.9
    tensor([[1, 0]])
    """
    costs, sizes = _checked_costs(cost, num_labels)
    return torch.from_numpy(_assign(costs, sizes)).to(cost.device)


def align_predicted(cost: Tensor, num_labels: Tensor, predicted_position: Tensor) -> Tensor:
    """Keep correct predictions at their step; assign the rest at minimum cost (PLA, Eq. 5).

    If several steps predict the same label, the first one keeps it; read literally, Eq. 5 would
    assign the label to each of them.

    Args:
        cost: cost of label j at step t, shape (B, N, N).
        num_labels: n_i, shape (B,).
        predicted_position: column j of the label that step t predicts, shape (B, N); any number
            outside 0 … n_i − 1 where the prediction is none of the image's labels. Steps t ≥ n_i
            are ignored.

    Returns:
        label_of_step, int64, shape (B, N), as from `align_min_loss`.

    Raises:
        ValueError: the shapes do not match, or a cost inside a block is not finite.

    >>> cost = torch.tensor([[[0.1, 0.2], [0.3, 0.9]]])
    >>> align_predicted(cost, torch.tensor([2]), torch.tensor([[0, -1]]))
    tensor([[0, 1]])
    """
    costs, sizes = _checked_costs(cost, num_labels)
    if predicted_position.shape != cost.shape[:2]:
        raise ValueError(
            f"predicted_position must have shape {tuple(cost.shape[:2])}, got "
            f"{tuple(predicted_position.shape)}"
        )
    image, step, label = _correct_predictions(predicted_position.cpu().numpy(), sizes)
    # An infinite cost rules a pair out; a large constant instead would cost precision.
    costs = costs.astype(np.float64)  # a copy, in the solver's type
    costs[image, step] = np.inf
    costs[image, :, label] = np.inf
    costs[image, step, label] = 0
    return torch.from_numpy(_assign(costs, sizes)).to(cost.device)


def _correct_predictions(
    predicted_position: np.ndarray, sizes: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, step and label of the first step that predicts each label correctly."""
    step, size = np.arange(predicted_position.shape[1]), sizes[:, None]
    is_correct = (predicted_position >= 0) & (predicted_position < size) & (step < size)
    image, step = is_correct.nonzero()
    label = predicted_position[image, step]
    first_step = np.full(predicted_position.shape, predicted_position.shape[1])  # of each label
    np.minimum.at(first_step, (image, label), step)
    is_first = first_step[image, label] == step
    return image[is_first], step[is_first], label[is_first]


def _assign(costs: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Assign at minimum summed cost within the first n rows and columns of each matrix.

    Args:
        costs: shape (B, N, N).
        sizes: n, shape (B,).

    Returns:
        Column of each row, int64, shape (B, N); −1 from row n on.
    """
    row = np.arange(costs.shape[1])
    column_of_row = np.where(row < sizes[:, None], row, -1)
    for i, n in enumerate(sizes.tolist()):
        if n > 1:
            column_of_row[i, :n] = linear_sum_assignment(costs[i, :n, :n])[1]
    return column_of_row


def _checked_costs(cost: Tensor, num_labels: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Copy costs and numbers of labels to the CPU, and check them; see `align_min_loss`."""
    if len(cost) == 0:
        raise ValueError("no costs: the batch is empty")
    if cost.dim() != 3 or cost.shape[1] != cost.shape[2] or num_labels.shape != cost.shape[:1]:
        raise ValueError(
            f"cost must have shape (B, N, N) and num_labels (B,), got {tuple(cost.shape)} and "
            f"{tuple(num_labels.shape)}"
        )
    if num_labels.is_floating_point():
        raise ValueError(f"num_labels must be integers, got {num_labels.dtype}")
    costs, sizes = cost.detach().cpu(), num_labels.cpu().numpy()
    if costs.dtype not in (torch.float32, torch.float64):
        costs = costs.float()  # NumPy has no bfloat16
    if sizes.min() < 0 or sizes.max() > cost.shape[1]:
        raise ValueError(
            f"num_labels must be 0 … {cost.shape[1]}, got {sizes.min()} … {sizes.max()}"
        )
    is_finite = np.isfinite(costs.numpy())
    if not is_finite.all():
        is_inside = np.arange(cost.shape[1]) < sizes[:, None]
        is_faulty = (~is_finite & is_inside[:, :, None] & is_inside[:, None, :]).any((1, 2))
        if is_faulty.any():
            raise ValueError(f"a cost of image {is_faulty.argmax()} of the batch is not finite")
    return costs.numpy(), sizes
