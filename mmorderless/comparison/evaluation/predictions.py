"""Compute, score and save the predictions of a trained run."""

import copy
import math
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.runner import Runner
from torch.utils.data import DataLoader, Subset

from mmorderless.comparison.evaluation.gallery import AttentionMaps, save_gallery_attention
from mmorderless.comparison.evaluation.operating_point import above
from mmorderless.labels.label_lists import RaggedLabels
from mmorderless.metrics.label_set_metric import LabelSetMetric
from mmorderless.metrics.records import Records, join_records
from mmorderless.models.weights import only_warnings
from mmorderless.runs.files import replacing
from mmorderless.runs.trained_model import temporary_attributes
from mmorderless.runs.workers import bind_workers

BEAM_WIDTH = 4

DEFAULT = "default"
"""The operating point that a model is configured for."""


def score_override(head: Any, kind: str) -> dict[str, Any]:
    """Return the attributes that make a sequence head return a kind of score."""
    if kind != "beam":
        return {"score": kind}
    width = max(BEAM_WIDTH, head.decoding.beam_width)
    return {"score": kind, "decoding": replace(head.decoding, beam_width=width)}


def loader_from_config(loader: ConfigDict) -> DataLoader:
    """Build a dataloader from its config as training does."""
    loader = copy.deepcopy(loader)
    loader.setdefault("collate_fn", dict(type="default_collate"))
    loader.persistent_workers = False
    return bind_workers(Runner.build_dataloader(loader))


@torch.no_grad()
def predict(
    model: Any,
    loader: DataLoader,
    variants: Mapping[Hashable, Mapping[str, Any]],
    scored: Collection[Hashable] | None = None,
) -> tuple[dict[Hashable, Records], list[str]]:
    """Predict a dataset with several settings of the head; features are computed once.

    Args:
        model: a classifier in evaluation mode.
        loader: dataloader.
        variants: attributes of the head by name of the variant.
        scored: variants whose class scores are kept; None keeps all.

    Returns:
        The predictions by variant, and the paths of the images.
    """
    # The metric only collects predictions; there is a single process.
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
            with temporary_attributes(model.head, attributes):
                samples = [sample.to_dict() for sample in model.head.predict(feats)]
            if scored is not None and name not in scored:
                for sample in samples:
                    del sample["pred_score"]
            merged = [{**true, **sample} for true, sample in zip(truth, samples)]
            collected[name].process(None, merged)
    return {name: join_records(metric.results) for name, metric in collected.items()}, paths


def metrics_of(records: Records, num_classes: int) -> dict[str, float | None]:
    """Return the scores of `LabelSetMetric` by name; None for NaN and infinity."""
    metric = LabelSetMetric(num_classes, score_topk=None)
    with only_warnings():  # its messages do not name the operating point
        values = metric.compute_metrics([records])
    return {name: finite_or_none(value) for name, value in values.items()}


def finite_or_none(value: float) -> float | None:
    """Return a finite number unchanged, otherwise None, because JSON has no NaN."""
    return value if math.isfinite(value) else None


def apply_threshold(records: Records, threshold: float) -> Records:
    """Return predictions whose label sets are given by a threshold on their scores."""
    kept = above(np.asarray(records.scores), threshold)
    return replace(records, predicted=RaggedLabels(np.nonzero(kept)[1], kept.sum(1)))


def save_predictions(
    file: Path,
    points: Mapping[Any, Records],
    paths: Sequence[str],
    classes: Sequence[str],
    groups: Mapping[str, Sequence[int]],
) -> None:
    """Write the predictions of each image.

    Args:
        file: .npz file with the labels `predicted`, `predicted_<point>`, `truth` and, for sequence
            models, `sequence`, each in one array with the number of labels per image in `*_length`;
            `scores`, shape (N, C); `img_path`; `classes`; `groups`, the group's name of each class
            or "".
        points: the predictions by operating point: `DEFAULT`, and those chosen for a score.
        paths: paths of the images.
        classes: class names.
        groups: class indices by name of the group.
    """
    group_of = {c: name for name, members in groups.items() for c in members}
    records = points[DEFAULT]
    lists = {"predicted": records.predicted, "truth": records.truth}
    lists |= {f"predicted_{point}": points[point].predicted for point in points if point != DEFAULT}
    if records.sequence is not None:
        lists["sequence"] = records.sequence
    arrays = {name: ragged.label.astype(np.int32) for name, ragged in lists.items()}
    lengths = {f"{name}_length": ragged.length for name, ragged in lists.items()}
    with replacing(file) as unfinished:
        np.savez_compressed(
            unfinished,
            **arrays,
            **lengths,
            scores=np.asarray(records.scores, dtype=np.float16),
            img_path=np.array(paths),
            classes=np.array(list(classes)),
            groups=np.array([group_of.get(c, "") for c in range(len(classes))]),
        )


@torch.no_grad()
def save_attention(model: Any, loader: DataLoader, images: np.ndarray, folder: Path) -> None:
    """Write the attention maps of some photos, if the model has spatial attention."""
    decoder = getattr(model.head, "decoder", None)
    if decoder is not None and not decoder.attends:
        return
    maps = []
    part = Subset(loader.dataset, images.tolist())
    for batch in DataLoader(part, loader.batch_size, collate_fn=pseudo_collate):
        data = model.data_preprocessor(batch, False)
        with temporary_attributes(model.head, {"return_attention": True}):
            samples = model.head.predict(model.extract_feat(data["inputs"]))
        if samples[0].attention.ndim != 3:  # over tokens, not over a grid
            return
        maps += [
            AttentionMaps(sample.sequence.tolist(), sample.attention.cpu().numpy())
            for sample in samples
        ]
    save_gallery_attention(folder, images, maps)
