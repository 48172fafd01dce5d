"""Read the scalars of a training that mmengine's LocalVisBackend writes."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np


def read_training_log(folder: Path, iterations: int, per_epoch: int) -> dict[str, Any]:
    """Read the log of a training that may have been interrupted and resumed.

    Args:
        folder: the run's work dir.
        iterations: number of iterations of the training.
        per_epoch: number of iterations of an epoch.

    Returns:
        `loss_curve`, pairs of epoch and loss where the loss is finite; `training_seconds`, the mean
        logged time of an iteration times their number, or None without a log.
    """
    losses: dict[int, dict[str, Any]] = {}
    # Folders are named after their start time: repeated iterations replace those of before.
    for file in sorted(folder.glob("*/vis_data/scalars.json")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
            except ValueError:  # the process was killed, or the disk full, during the write
                continue
            if "loss" in record:
                losses[record["step"]] = record
    times = [record["time"] for record in losses.values()]
    return {
        "loss_curve": [
            [step / per_epoch, losses[step]["loss"]]
            for step in sorted(losses)
            if math.isfinite(losses[step]["loss"])
        ],
        "training_seconds": float(np.mean(times)) * iterations if times else None,
    }
