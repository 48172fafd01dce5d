"""Evaluate a run of a comparison: python -m mmorderless.comparison.evaluate DIR/METHOD/seed_S."""

import copy
import logging
import math
import sys
import time
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.logging import MMLogger
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Subset

from ..analysis.statistics import JoinedLabels
from ..errors import run_tool
from ..metrics.label_set_metric import LabelSetMetric, Records, join_records
from ..metrics.set_scores import sparse_label_matrix
from ..version import __version__
from .gallery import AttentionMaps, choose_gallery, save_gallery_attention
from .operating_point import (
    BIASES,
    CHOSEN_FOR,
    THRESHOLDS,
    above,
    best_value,
    beyond,
    candidates,
    dial_curve,
    threshold_curve,
)
from .plan import RESULT, run_in, write_json
from .results import PREDICTIONS_FILE
from .trained import TrainedRun
from .training_log import read_curves

BEAM_WIDTH = 4
DEFAULT_THRESHOLD = 0.5
SCORE_KINDS = ("max", "first", "beam")


@dataclass(frozen=True)
class Dial:
    """A head's dial between precision and recall.

    Attributes:
        name: `end_bias`, `stop_bias` or `threshold`; the last cuts scores that are there.
        default: its value as the model was configured.
    """

    name: str
    default: float


def dial_of(head: Any) -> Dial:
    """Return a head's dial.

    Args:
        head: one that emits a sequence, or one of mmpretrain's multi-label heads.
    """
    if hasattr(head, "stop_bias"):
        return Dial("stop_bias", float(head.stop_bias))
    if hasattr(head, "decoding"):
        return Dial("end_bias", float(head.decoding.end_bias))
    threshold = getattr(head, "thr", None)
    return Dial("threshold", DEFAULT_THRESHOLD if threshold is None else float(threshold))


def turned(head: Any, dial: Dial, value: float) -> dict[str, Any]:
    """Return the attributes that set a sequence head's dial."""
    if dial.name == "stop_bias":
        return {"stop_bias": value}
    return {"decoding": replace(head.decoding, end_bias=value)}


def scored_by(head: Any, kind: str) -> dict[str, Any]:
    """Return the attributes that make a sequence head give a kind of score."""
    if kind != "beam":
        return {"score": kind}
    width = max(BEAM_WIDTH, head.decoding.beam_width)
    return {"score": kind, "decoding": replace(head.decoding, beam_width=width)}


@contextmanager
def attributes_set(head: Any, attributes: Mapping[str, Any]) -> Iterator[None]:
    """Give a head other attributes for the length of a block."""
    before = {name: getattr(head, name) for name in attributes}
    try:
        for name, value in attributes.items():
            setattr(head, name, value)
        yield
    finally:
        for name, value in before.items():
            setattr(head, name, value)


# Predictions ------------------------------------------------------------------------------------


def build_loader(loader: ConfigDict) -> DataLoader:
    """Build a config's dataloader, as training does."""
    loader = copy.deepcopy(loader)
    loader.setdefault("collate_fn", dict(type="default_collate"))
    loader.persistent_workers = False
    return Runner.build_dataloader(loader)


@torch.no_grad()
def predict(
    model: Any,
    loader: DataLoader,
    variants: Mapping[Hashable, Mapping[str, Any]],
    scored: Collection[Hashable] | None = None,
) -> tuple[dict[Hashable, Records], list[str]]:
    """Predict a dataset several times; an image's features are computed once.

    Args:
        model: a classifier in evaluation mode.
        loader: of the dataset.
        variants: attributes of the head, by the variant's name.
        scored: the variants whose scores of the classes are kept; None is all.

    Returns:
        The predictions by variant, and the images' paths.
    """
    # The metric is what joins predictions; it never sees more than one process here.
    collected = {name: LabelSetMetric(score_topk=None) for name in variants}
    paths: list[str] = []
    for batch in loader:
        data = model.data_preprocessor(batch, False)
        truth = [
            {name: sample.get(name) for name in ("gt_label", "gt_ignore") if name in sample}
            for sample in data["data_samples"]
        ]
        paths += [str(sample.get("img_path", "")) for sample in data["data_samples"]]
        feats = model.extract_feat(data["inputs"])
        for name, attributes in variants.items():
            with attributes_set(model.head, attributes):
                samples = [sample.to_dict() for sample in model.head.predict(feats)]
            if scored is not None and name not in scored:
                for sample in samples:
                    del sample["pred_score"]
            joined = [{**true, **sample} for true, sample in zip(truth, samples)]
            collected[name].process(None, joined)
    return {name: join_records(metric.results) for name, metric in collected.items()}, paths


def metrics_of(records: Records, num_classes: int) -> dict[str, float | None]:
    """Score predictions by `LabelSetMetric`'s names; None for what is not a number."""
    metric = LabelSetMetric(num_classes, score_topk=None)
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(logging.WARNING)  # its notes do not say which operating point they are about
    try:
        values = metric.compute_metrics([records])
    finally:
        logger.setLevel(level)
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def cut_at(records: Records, threshold: float) -> Records:
    """Return the predictions with the label sets at a threshold on their scores."""
    kept = above(np.asarray(records.scores), threshold)
    return replace(records, predicted=JoinedLabels(np.nonzero(kept)[1], kept.sum(1)))


def save_predictions(
    file: Path,
    records: Records,
    paths: Sequence[str],
    classes: Sequence[str],
    groups: Mapping[str, Sequence[int]],
) -> None:
    """Write the predictions of each image.

    Args:
        file: the .npz file: `predicted`, `truth` and, of sequence models, `sequence`, all labels
            in one array with the `_length` of each image; `scores` (N, C); `img_path`; `classes`;
            `groups`, the name of each class's group or "".
        records: the predictions.
        paths: of the images.
        classes: class names.
        groups: class indices by the name of their group.
    """
    group_of = {c: name for name, members in groups.items() for c in members}
    lists = {"predicted": records.predicted, "truth": records.truth}
    if records.sequence is not None:
        lists["sequence"] = records.sequence
    arrays = {name: joined.label.astype(np.int32) for name, joined in lists.items()}
    lengths = {f"{name}_length": joined.length for name, joined in lists.items()}
    np.savez_compressed(
        file,
        **arrays,
        **lengths,
        scores=np.asarray(records.scores, dtype=np.float16),
        img_path=np.array(paths),
        classes=np.array(list(classes)),
        groups=np.array([group_of.get(c, "") for c in range(len(classes))]),
    )


# Evaluation -------------------------------------------------------------------------------------


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
    if hasattr(head, "score"):
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


@torch.no_grad()
def save_attention(model: Any, loader: DataLoader, images: np.ndarray, folder: Path) -> None:
    """Write the attention maps of some photos, where the model attends to a map.

    Args:
        model: a classifier in evaluation mode, with a sequence head.
        loader: of the test set.
        images: which of its images.
        folder: the run's work dir.
    """
    if not model.head.decoder.attends:
        return
    maps = []
    part = Subset(loader.dataset, images.tolist())
    for batch in DataLoader(part, loader.batch_size, collate_fn=pseudo_collate):
        data = model.data_preprocessor(batch, False)
        with attributes_set(model.head, {"return_attention": True}):
            samples = model.head.predict(model.extract_feat(data["inputs"]))
        if samples[0].attention.ndim != 3:  # over tokens, which are no picture
            return
        maps += [
            AttentionMaps(sample.sequence.tolist(), sample.attention.cpu().numpy())
            for sample in samples
        ]
    save_gallery_attention(folder, images, maps)


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
