"""The JSON that tools/predict.py writes."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

SCHEMA_VERSION = 1
DIGITS = 4  # Probabilities are rounded to these; the fifth decimal depends on the machine.


def predictions_json(
    results: Iterable[dict[str, Any]], classes: Sequence[str], checkpoint: str
) -> str:
    """Return the text of `predictions.json`, one image a line.

    Args:
        results: what `OrderlessInferencer` returns.
        classes: class names, in the order of the scores.
        checkpoint: path of the weights, as given.
    """
    head = {"version": SCHEMA_VERSION, "classes": list(classes), "checkpoint": checkpoint}
    start = json.dumps(head, ensure_ascii=False)[:-1]
    images = [
        json.dumps(
            {key: _plain(value) for key, value in result.items()},
            ensure_ascii=False,
            allow_nan=False,
        )
        for result in results
    ]
    return start + ', "images": [\n' + ",\n".join(images) + "\n]}\n"


def _plain(value: Any) -> Any:
    """Return a value in plain Python types, floats rounded."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return round(value, DIGITS) if isinstance(value, float) else value
