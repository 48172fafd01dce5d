"""Alignment: logits and label sets to target tokens, next to SciPy's solver alone for scale.

Logits are random, so few predictions are correct and PLA has almost as much to solve as MLA: the
case of an untrained model, and the slowest.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from mmorderless.alignment.targets import min_loss_targets, predicted_label_targets
from mmorderless.labels.vocabulary import IGNORE

from .batches import random_labels
from .label_counts import label_counts
from .plain_alignment import plain_targets
from .report import Row
from .settings import DTYPES, Settings
from .timing import alternate

BATCH, NUM_CLASSES = 64, 80
MIN_SPEED_UP = 12
STRATEGIES: dict[str, tuple[Callable[[Tensor, Sequence[Tensor]], Tensor], bool]] = {
    "MLA": (min_loss_targets, False),
    "PLA": (predicted_label_targets, True),
}
"""Function of this package, and whether the baseline pins predicted labels."""


def run(settings: Settings) -> list[Row]:
    """Measure MLA and PLA."""
    batch = settings.batch or (8 if settings.quick else BATCH)
    logits, labels = make_batch(settings, label_counts(batch), NUM_CLASSES)
    shape = {"B": batch, "C": NUM_CLASSES, "T": logits.shape[1]}
    matrices = cost_matrices(logits, labels)
    rows = []
    for name, (align, pins) in STRATEGIES.items():
        check_same_cost(logits, align(logits, labels), plain_targets(logits, labels, pins))
        samples = alternate(
            {
                "ours": lambda align=align: align(logits, labels),  # type: ignore[misc]
                "plain": lambda pins=pins: plain_targets(logits, labels, pins),  # type: ignore
                "solver": lambda: [linear_sum_assignment(matrix) for matrix in matrices],
            },
            settings.repeats,
        )
        us = {key: [1000 * sample / batch for sample in values] for key, values in samples.items()}
        for baseline, what, least in (
            ("plain", f"{name} alignment", MIN_SPEED_UP),
            ("solver", f"{name} alignment, against SciPy's solver alone", None),
        ):
            rows.append(Row(what, shape, "µs/image", us["ours"], us[baseline], at_least=least))
    return rows


def make_batch(
    settings: Settings, counts: Sequence[int], num_classes: int
) -> tuple[Tensor, list[Tensor]]:
    """Draw logits (B, T, C + 1) and label sets.

    Args:
        settings: device and type.
        counts: n_i.
        num_classes: C.
    """
    torch.manual_seed(0)
    logits = torch.randn(len(counts), max(counts) + 1, num_classes + 1)
    logits = logits.to(settings.device, DTYPES[settings.dtype])
    return logits, random_labels(counts, num_classes, settings.device)


def cost_matrices(logits: Tensor, labels: Sequence[Tensor]) -> list[np.ndarray]:
    """Return the cost of each image's labels at its first n_i steps, float64, (n_i, n_i) each."""
    costs = -logits.double().log_softmax(2).cpu()
    return [
        np.ascontiguousarray(costs[i, : len(label_set), label_set.cpu()].numpy())
        for i, label_set in enumerate(labels)
    ]


def check_same_cost(logits: Tensor, ours: Tensor, baseline: Tensor) -> None:
    """Check that two alignments have the same summed cost for every image.

    Args:
        logits: shape (B, T, C + 1).
        ours: tokens, shape (B, T).
        baseline: tokens, shape (B, T).

    Raises:
        AssertionError: the costs of an image differ.
    """
    costs = -logits.double().log_softmax(2)

    def summed(tokens: Tensor) -> Tensor:
        counted = tokens != IGNORE
        taken = costs.gather(2, tokens.clamp(min=0)[:, :, None])[:, :, 0]
        return (taken * counted).sum(1)

    torch.testing.assert_close(summed(ours), summed(baseline), rtol=0, atol=1e-5)
