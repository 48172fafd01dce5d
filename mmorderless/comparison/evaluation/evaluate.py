"""Evaluate a run of a comparison.

python -m mmorderless.comparison.evaluation.evaluate DIR/METHOD/seed_S
"""

import sys
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from mmorderless.comparison.evaluation.gallery import choose_gallery
from mmorderless.comparison.evaluation.operating_parameter import (
    DEFAULT_THRESHOLD,
    OperatingParameter,
    operating_parameter_of,
    override,
)
from mmorderless.comparison.evaluation.operating_point import (
    BIASES,
    CHOSEN_FOR,
    THETAS,
    THRESHOLDS,
    best_value,
    candidates,
    candidates_beyond,
    operating_curve,
    threshold_curve,
    thresholds_by_count,
)
from mmorderless.comparison.evaluation.predictions import (
    DEFAULT,
    apply_threshold,
    loader_from_config,
    metrics_of,
    predict,
    save_attention,
    save_predictions,
    score_override,
)
from mmorderless.comparison.evaluation.trained import TrainedRun
from mmorderless.comparison.evaluation.training_log import read_training_log
from mmorderless.comparison.plan import PREDICTIONS, RESULT, run_in
from mmorderless.errors import run_tool
from mmorderless.labels.label_lists import sparse_label_matrix
from mmorderless.metrics.records import Records
from mmorderless.runs.records import write_json
from mmorderless.version import __version__

SCORE_KINDS = ("max", "first", "beam")


def tune_thresholds(
    held_out: Records, test: Records, num_classes: int, default: float
) -> tuple[list[dict[str, float]], dict[str, Any]]:
    """Choose thresholds on the scores of held-out images and evaluate them on the test set.

    Returns:
        The curve on the held-out images; the chosen value and its test metrics, by the score that
        it was chosen for.
    """
    scores = np.asarray(held_out.scores)
    truth = sparse_label_matrix(held_out.truth, num_classes)
    grid = [*THRESHOLDS, *thresholds_by_count(scores, truth)]
    curve = threshold_curve(scores, truth, candidates(grid, default))
    tuned = {}
    for score in CHOSEN_FOR:
        value = best_value(curve, score, default)
        metrics = metrics_of(apply_threshold(test, value), num_classes)
        tuned[score] = {"value": value, "metrics": metrics}
    return curve, tuned


def evaluate_thresholds(
    held_out: Records, test: Records, num_classes: int, default: float | None
) -> dict[str, Any]:
    """Choose thresholds on held-out images and evaluate them on the test set.

    The label sets of the test set's predictions are the default operating point; `default` is the
    threshold that gave them, None for another rule.

    Returns:
        `operating_parameter`, `operating_default`, `default`, `operating_curve` and `tuned` of
        result.json.
    """
    nearest = DEFAULT_THRESHOLD if default is None else default
    curve, tuned = tune_thresholds(held_out, test, num_classes, nearest)
    return {
        "operating_parameter": "threshold",
        "operating_default": default,
        "default": metrics_of(test, num_classes),
        "operating_curve": curve,
        "tuned": tuned,
    }


def evaluate_sequences(
    model: Any,
    held_out: DataLoader,
    test: DataLoader,
    parameter: OperatingParameter,
    num_classes: int,
) -> tuple[dict[str, Any], dict[str, Records], list[str]]:
    """Choose an END bias or θ on held-out images and evaluate it on the test set.

    Returns:
        `operating_parameter`, `operating_default`, `default`, `operating_curve`, `tuned`,
        `no_repeat` (whether decoding cannot repeat a label), and for an END bias `mAP_by_score` and
        `threshold_by_score` (label sets from a threshold on each kind of score) of result.json; the
        predictions on the test set by operating point, see `save_predictions`; the paths of its
        images.
    """
    head, default = model.head, parameter.default
    has_end_bias = parameter.name == "end_bias"
    # The head's own settings are predicted once, under the name of the default value.
    kinds: dict[Hashable, dict[str, Any]] = {}
    name_of_kind: dict[str, Hashable] = {head.score: default} if has_end_bias else {}
    if has_end_bias and not head.decoding.has_sigmoids:  # sigmoids have no beam
        name_of_kind = {kind: kind for kind in SCORE_KINDS} | {head.score: default}
        kinds = {kind: score_override(head, kind) for kind in SCORE_KINDS if kind != head.score}

    def overrides(values: Iterable[float]) -> dict[Hashable, dict[str, Any]]:
        return {value: override(head, value) for value in values} | {default: {}}

    held, _ = predict(
        model,
        held_out,
        {**overrides(candidates(BIASES if has_end_bias else THETAS, default)), **kinds},
        scored=[default, *kinds],
    )
    tried = {name: records for name, records in held.items() if name not in kinds}
    truth = sparse_label_matrix(tried[default].truth, num_classes)
    curve: list[dict[str, float]] = []
    while len(curve) < len(tried):
        curve = operating_curve(
            {v: sparse_label_matrix(tried[v].predicted, num_classes) for v in tried}, truth
        )
        more = candidates_beyond(curve, default)
        if more and has_end_bias:
            variants = {value: override(head, value) for value in more}
            tried |= predict(model, held_out, variants, scored=())[0]
    chosen = {score: best_value(curve, score, default) for score in CHOSEN_FOR}

    predicted, paths = predict(model, test, {**overrides(chosen.values()), **kinds})
    metrics = {name: metrics_of(records, num_classes) for name, records in predicted.items()}
    result = {
        "operating_parameter": parameter.name,
        "operating_default": default,
        "default": metrics[default],
        "operating_curve": curve,
        "tuned": {
            score: {"value": value, "metrics": metrics[value]} for score, value in chosen.items()
        },
        "no_repeat": not has_end_bias or head.decoding.no_repeat or head.decoder.masks_emitted,
        "mAP_by_score": {kind: metrics[name]["mAP"] for kind, name in name_of_kind.items()},
        "threshold_by_score": {
            kind: tune_thresholds(held[name], predicted[name], num_classes, DEFAULT_THRESHOLD)[1]
            for kind, name in name_of_kind.items()
        },
    }
    values = {DEFAULT: default, **chosen}
    return result, {point: predicted[value] for point, value in values.items()}, paths


def evaluate_run(folder: Path) -> dict[str, Any]:
    """Evaluate a trained run and write `predictions.npz`, `attention.npz` and `result.json`.

    Returns:
        The content of `result.json`.
    """
    run, trained = run_in(folder), TrainedRun(folder)
    model, head = trained.model, trained.head
    training, held_out, test = (
        loader_from_config(trained.config[f"{name}_dataloader"])
        for name in ("train", "val", "test")
    )
    classes = test.dataset.metainfo["classes"]
    parameter = operating_parameter_of(head)
    if parameter.name == "threshold":
        (records, _), (predicted, paths) = (
            predict(model, loader, {DEFAULT: {}}) for loader in (held_out, test)
        )
        result = evaluate_thresholds(
            records[DEFAULT], predicted[DEFAULT], len(classes), parameter.default
        )
        for score, tuned in result["tuned"].items():
            predicted[score] = apply_threshold(predicted[DEFAULT], tuned["value"])
    else:
        result, predicted, paths = evaluate_sequences(
            model, held_out, test, parameter, len(classes)
        )
        save_attention(model, test, choose_gallery(predicted[DEFAULT].truth, len(classes)), folder)
    groups = test.dataset.metainfo.get("groups") or {}
    save_predictions(folder / PREDICTIONS, predicted, paths, classes, groups)
    trained.shrink()
    result = {
        "method": run.method,
        "seed": run.seed,
        "sequence": parameter.name != "threshold",
        **result,
        "times_ms_per_image": {},
        **read_training_log(folder, trained.checkpoint["meta"]["iter"], len(training)),
        "versions": {"mmorderless": __version__, "torch": torch.__version__},
        "num_parameters": sum(parameter.numel() for parameter in model.parameters()),
        "config": "config.py",
        "checkpoint": trained.file.name,
    }
    write_json(folder / RESULT, result)
    return result


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate the run in the folder that is given."""
    evaluate_run(Path(*(sys.argv[1:] if argv is None else argv)))


if __name__ == "__main__":
    run_tool(main)
