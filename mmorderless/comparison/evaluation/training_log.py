"""Read the curves of a training from the scalars that mmengine's LocalVisBackend writes."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

VALIDATED = ("CF1", "OF1", "mAP")


def read_curves(folder: Path, iterations: int, epochs: float, by_epoch: bool) -> dict[str, Any]:
    """Read the curves of a training that may have been interrupted and resumed.

    Returns:
        `loss_curve`, pairs of epoch and loss where the loss is finite; `validation_curve`, rows of
        epoch, CF1, OF1 and mAP (None if not finite or not computed); `training_seconds`, the mean
        logged time of an iteration times their number, or None without a log.
    """
    losses: dict[int, dict[str, Any]] = {}
    validations: dict[int, dict[str, Any]] = {}
    # Folders are named after their start time: repeated iterations replace those of before.
    for file in sorted(folder.glob("*/vis_data/scalars.json")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # the process was killed, or the disk full, during the write
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
    """Return a finite number unchanged, otherwise None, because JSON has no NaN."""
    return value if value is not None and math.isfinite(value) else None
