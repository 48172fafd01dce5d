"""Predictions as plain Python values, and the JSON file that tools/predict.py writes."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmpretrain.structures import DataSample
from torch import Tensor

SCHEMA_VERSION = 1
DIGITS = 4  # of probabilities in the JSON; the fifth decimal depends on the machine


def results_of(
    samples: Sequence[DataSample], classes: Sequence[str], with_attention: bool
) -> list[dict[str, Any]]:
    """Turn a batch's predictions into results, with one copy to the host per field.

    Returns:
        A dict per image, see `OrderlessInferencer`, without `image`.

    Raises:
        ValueError: the scores are not finite, their number is not that of the classes, or there
            are no attention maps.
    """
    if not samples:
        return []
    scores = torch.stack([sample.pred_score for sample in samples]).cpu()  # (B, C)
    if not scores.isfinite().all():
        raise ValueError(
            "the model's scores are not finite; its weights hold NaN or infinity: use another "
            "checkpoint"
        )
    if scores.shape[1] != len(classes):
        raise ValueError(
            f"the model has {scores.shape[1]} classes but {len(classes)} class names are "
            "known; give as many as the model was trained with"
        )
    results: list[dict[str, Any]] = [
        {
            "labels": labels,
            "names": [classes[label] for label in labels],
            "probabilities": [class_scores[label] for label in labels],
            "sequence": None,
            "sequence_probabilities": None,
            "scores": class_scores,
        }
        for labels, class_scores in zip(
            _lists([sample.pred_label for sample in samples]), scores.tolist()
        )
    ]
    if all("sequence" in sample for sample in samples):
        sequences = _lists([sample.sequence for sample in samples])
        probabilities = _lists([sample.sequence_score for sample in samples])
        for result, sequence, emitted in zip(results, sequences, probabilities):
            result["sequence"], result["sequence_probabilities"] = sequence, emitted
            result["probabilities"] = [emitted[sequence.index(label)] for label in result["labels"]]
    for result, sample in zip(results, samples):
        if "end_score" in sample:
            result["end_probability"] = float(sample.end_score)
        for name in ("given", "excluded"):
            if name in sample:
                result[name] = sample.get(name).tolist()
        known = result.get("given", [])  # the first labels
        result["probabilities"][: len(known)] = [1.0] * len(known)
    if with_attention:
        for result, sample in zip(results, samples):
            if "attention" not in sample:
                raise ValueError(
                    "the model gives no attention maps; ask for them only with a sequence head "
                    "whose decoder attends, or class queries"
                )
            result["attention"] = sample.attention.cpu().numpy()
    return results


def _lists(tensors: Sequence[Tensor]) -> list[list]:
    """Turn 1-D tensors of any lengths into lists with one copy to the host."""
    lengths = [len(tensor) for tensor in tensors]
    return [part.tolist() for part in torch.cat(list(tensors)).cpu().split(lengths)]


def predictions_json(
    results: Iterable[dict[str, Any]], classes: Sequence[str], checkpoint: str
) -> str:
    """Return the text of `predictions.json`, one line per image."""
    head = {"version": SCHEMA_VERSION, "classes": list(classes), "checkpoint": checkpoint}
    start = json.dumps(head, ensure_ascii=False)[:-1]
    rounded = ({key: _rounded(value) for key, value in result.items()} for result in results)
    images = [json.dumps(result, ensure_ascii=False, allow_nan=False) for result in rounded]
    return start + ', "images": [\n' + ",\n".join(images) + "\n]}\n"


def _rounded(value: Any) -> Any:
    """Convert arrays and tuples to lists and round floats."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return round(value, DIGITS) if isinstance(value, float) else value
