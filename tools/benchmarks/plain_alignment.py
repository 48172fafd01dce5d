"""Plain alignment: image by image, step by step.

For each image and step it computes a log-softmax and copies the labels' costs to the host, then
runs SciPy on the image's full n × n matrix. PLA pins correct predictions with a large constant.
"""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmorderless.labels.vocabulary import IGNORE

LARGE = 1e4
"""Subtracted from the cost of a pinned label at its step, in nats."""


@torch.no_grad()
def plain_targets(logits: Tensor, label_sets: Sequence[Tensor], pin_predicted: bool) -> Tensor:
    """Return the target token of every step, by MLA or PLA.

    Args:
        logits: shape (B, T, C + 1).
        label_sets: B one-dimensional index tensors.
        pin_predicted: whether correctly predicted labels keep their step (PLA).

    Returns:
        Tokens, shape (B, T), like `alignment.targets.min_loss_targets`.
    """
    tokens = torch.full(logits.shape[:2], IGNORE, device=logits.device)
    for i, labels in enumerate(label_sets):
        costs = np.zeros((len(labels), len(labels)))
        waiting = labels.tolist()
        for t in range(len(labels)):
            log_p = logits[i, t].log_softmax(0)
            costs[t] = -log_p[labels].float().cpu().numpy()
            if pin_predicted:
                predicted = int(logits[i, t].argmax())
                if predicted in waiting:
                    costs[t, labels.tolist().index(predicted)] -= LARGE
                    waiting.remove(predicted)
        steps, positions = linear_sum_assignment(costs)
        tokens[i, steps] = labels[positions].to(logits.device)
        tokens[i, len(labels)] = logits.shape[2] - 1  # END
    return tokens
