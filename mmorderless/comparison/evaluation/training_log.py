"""The curves of a training, from the scalars that mmengine's LocalVisBackend writes."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

VALIDATED = ("CF1", "OF1", "mAP")


def read_curves(folder: Path, iterations: int, epochs: float, by_epoch: bool) -> dict[str, Any]:
    """Read the curves of a training that may have been interrupted and resumed.

    Args:
        folder: its work dir.
        iterations: of the whole training.
        epochs: the same training in passes over the dataset.
        by_epoch: whether validations are counted in epochs, not in iterations.

    Returns:
        `loss_curve`, pairs of epoch and loss where the loss is finite; `validation_curve`, rows of
        epoch, CF1, OF1 and mAP (None where it is not finite, or was not computed);
        `training_seconds`, of all iterations, from the mean of their logged times; None without a
        log.
    """
    losses: dict[int, dict[str, Any]] = {}
    validations: dict[int, dict[str, Any]] = {}
    # The folders are named after their time: what was done again takes the place of what was lost.
    for file in sorted(folder.glob("*/vis_data/scalars.json")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # a kill, or a full disk, while it was written
                continue
            if "loss" in record:
                losses[record["step"]] = record
            elif scores := {key.rpartition("/")[2]: record[key] for key in record if "/" in key}:
                validations[record["step"]] = scores
    per_epoch = iterations / epochs
    times = [record["time"] for record in losses.values()]
    return {
        "loss_curve": [
            [step / per_epoch, losses[step]["loss"]]
            for step in sorted(losses)
            if math.isfinite(losses[step]["loss"])
        ],
        "validation_curve": [
            [
                step if by_epoch else step / per_epoch,
                *(finite_or_none(validations[step].get(name)) for name in VALIDATED),
            ]
            for step in sorted(validations)
        ],
        "training_seconds": float(np.mean(times)) * iterations if times else None,
    }


def finite_or_none(value: float | None) -> float | None:
    """Return a finite number as it is, and None for all else, which JSON does not have."""
    return value if value is not None and math.isfinite(value) else None
