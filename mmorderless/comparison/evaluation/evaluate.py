"""Evaluate a run of a comparison.

python -m mmorderless.comparison.evaluation.evaluate DIR/METHOD/seed_S
"""

import sys
import time
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from mmorderless.comparison.evaluation.gallery import choose_gallery
from mmorderless.comparison.evaluation.operating_parameter import (
    DEFAULT_THRESHOLD,
    Dial,
    dial_of,
    turned,
)
from mmorderless.comparison.evaluation.operating_point import (
    BIASES,
    CHOSEN_FOR,
    THRESHOLDS,
    best_value,
    beyond,
    candidates,
    dial_curve,
    threshold_curve,
)
from mmorderless.comparison.evaluation.predictions import (
    build_loader,
    cut_at,
    metrics_of,
    predict,
    save_attention,
    save_predictions,
    scored_by,
)
from mmorderless.comparison.evaluation.trained import TrainedRun
from mmorderless.comparison.evaluation.training_log import read_curves
from mmorderless.comparison.plan import RESULT, run_in
from mmorderless.comparison.report.results import PREDICTIONS_FILE
from mmorderless.errors import run_tool
from mmorderless.labels.label_lists import sparse_label_matrix
from mmorderless.metrics.records import Records
from mmorderless.runs.records import write_json
from mmorderless.version import __version__

SCORE_KINDS = ("max", "first", "beam")


def tune_thresholds(
    held_out: Records, test: Records, num_classes: int, default: float
) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Choose thresholds on the scores of held-out images and score the test set there.

    Returns:
        The curve on the held-out images, and by what it was chosen for the value and the metrics.
    """
    curve = threshold_curve(
        np.asarray(held_out.scores),
        sparse_label_matrix(held_out.truth, num_classes),
        candidates(THRESHOLDS, default),
    )
    tuned = {}
    for score in CHOSEN_FOR:
        value = best_value(curve, score, default)
        tuned[score] = {"value": value, "metrics": metrics_of(cut_at(test, value), num_classes)}
    return curve, tuned


def evaluate_thresholds(
    held_out: Records, test: Records, num_classes: int, default: float
) -> dict[str, Any]:
    """Choose thresholds on held-out images and score the test set there.

    Args:
        held_out: predictions on held-out images, with scores.
        test: the same on the test set; the sets are those of the default operating point.
        num_classes: C.
        default: threshold of the default operating point.

    Returns:
        `dial`, `dial_default`, `default`, `dial_curve` and `tuned` of result.json.
    """
    curve, tuned = tune_thresholds(held_out, test, num_classes, default)
    return {
        "dial": "threshold",
        "dial_default": default,
        "default": metrics_of(test, num_classes),
        "dial_curve": curve,
        "tuned": tuned,
    }


def evaluate_sequences(
    model: Any, held_out: DataLoader, test: DataLoader, dial: Dial, num_classes: int
) -> tuple[dict[str, Any], Records, list[str]]:
    """Set a sequence model's dial on held-out images and score the test set there.

    Returns:
        `dial`, `dial_default`, `default`, `dial_curve`, `tuned`, `mAP_by_score` and
        `threshold_by_score` (sets that are cut from a kind of score) of result.json; the
        predictions on the test set at the default operating point; the paths of its images.
    """
    head = model.head
    # What the head is set to is predicted once, by its dial's default.
    kinds: dict[Hashable, dict[str, Any]] = {}
    name_of_kind: dict[str, Hashable] = {"max": dial.default}
    if head.decoding.stop_threshold is None:  # sigmoids have no beam
        name_of_kind = {kind: kind for kind in SCORE_KINDS} | {head.score: dial.default}
        kinds = {kind: scored_by(head, kind) for kind in SCORE_KINDS if kind != head.score}

    def turns(values: Iterable[float]) -> dict[Hashable, dict[str, Any]]:
        return {value: turned(head, dial, value) for value in values} | {dial.default: {}}

    held, _ = predict(
        model,
        held_out,
        {**turns(candidates(BIASES, dial.default)), **kinds},
        scored=[dial.default, *kinds],
    )
    tried = {name: records for name, records in held.items() if name not in kinds}
    truth = sparse_label_matrix(tried[dial.default].truth, num_classes)
    curve: list[dict[str, float]] = []
    while len(curve) < len(tried):
        curve = dial_curve(
            {v: sparse_label_matrix(tried[v].predicted, num_classes) for v in tried}, truth
        )
        more = beyond(curve, dial.default)
        if more:
            more_turns = {value: turned(head, dial, value) for value in more}
            tried |= predict(model, held_out, more_turns, scored=())[0]
    chosen = {score: best_value(curve, score, dial.default) for score in CHOSEN_FOR}

    predicted, paths = predict(model, test, {**turns(chosen.values()), **kinds})
    metrics = {name: metrics_of(records, num_classes) for name, records in predicted.items()}
    result = {
        "dial": dial.name,
        "dial_default": dial.default,
        "default": metrics[dial.default],
        "dial_curve": curve,
        "tuned": {
            score: {"value": value, "metrics": metrics[value]} for score, value in chosen.items()
        },
        "mAP_by_score": {kind: metrics[name]["mAP"] for kind, name in name_of_kind.items()},
        "threshold_by_score": {
            kind: tune_thresholds(held[name], predicted[name], num_classes, DEFAULT_THRESHOLD)[1]
            for kind, name in name_of_kind.items()
        },
    }
    return result, predicted[dial.default], paths


def evaluate_run(folder: Path) -> dict[str, Any]:
    """Evaluate a trained run, and write `predictions.npz`, `attention.npz` and `result.json`.

    Args:
        folder: the run's work dir.

    Returns:
        What `result.json` holds.
    """
    start = time.monotonic()
    run, trained = run_in(folder), TrainedRun(folder)
    model, head, meta = trained.model, trained.head, trained.checkpoint["meta"]
    held_out = build_loader(trained.config.val_dataloader)
    test = build_loader(trained.config.test_dataloader)
    classes = test.dataset.metainfo["classes"]
    dial = dial_of(head)
    if dial.name == "threshold":
        (records, _), (predicted, paths) = (
            predict(model, loader, {"default": {}}) for loader in (held_out, test)
        )
        test_records = predicted["default"]
        result = evaluate_thresholds(records["default"], test_records, len(classes), dial.default)
    else:
        result, test_records, paths = evaluate_sequences(model, held_out, test, dial, len(classes))
        save_attention(model, test, choose_gallery(test_records.truth, len(classes)), folder)
    groups = test.dataset.metainfo.get("groups") or {}
    save_predictions(folder / PREDICTIONS_FILE, test_records, paths, classes, groups)
    trained.shrink()
    by_epoch = trained.file.stem.startswith("epoch_")
    result = {
        "method": run.method,
        "seed": run.seed,
        "sequence": dial.name != "threshold",
        **result,
        "times_ms_per_image": {},
        **read_curves(folder, meta["iter"], max(meta["epoch"], 1), by_epoch),
        "versions": {"mmorderless": __version__, "torch": torch.__version__},
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "evaluation_seconds": time.monotonic() - start,
        "config": "config.py",
        "checkpoint": trained.file.name,
    }
    write_json(folder / RESULT, result)
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate the run in a folder.

    Args:
        argv: the folder.
    """
    evaluate_run(Path(*(sys.argv[1:] if argv is None else argv)))


if __name__ == "__main__":
    run_tool(main)
