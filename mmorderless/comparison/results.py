"""What a comparison has written, read back, and its scores over the seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import plan
from .gallery import AttentionMaps, read_gallery_attention

PREDICTIONS_FILE = "predictions.npz"
REFERENCE = "pla"
"""The method that the others are compared with."""

Result = Mapping[str, Any]
Predictions = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """A comparison's results.

    Attributes:
        config: what was compared, from `comparison.json`.
        results: the content of `result.json` by method and seed, of the runs that are finished.
        predictions: the arrays of `predictions.npz` of each method's first seed, by method.
        attention: the attention maps of the gallery's photos, of the same runs, by method and
            image; empty for methods that have none.
    """

    config: Mapping[str, Any]
    results: Mapping[str, Mapping[int, Result]]
    predictions: Mapping[str, Predictions]
    attention: Mapping[str, Mapping[int, AttentionMaps]]

    @property
    def groups(self) -> dict[str, list[int]]:
        """Class indices by the name of their group, such as COCO's supercategories."""
        groups: dict[str, list[int]] = {}
        for arrays in self.predictions.values():
            for c, name in enumerate(arrays.get("groups", ())):
                if name and c not in groups.setdefault(str(name), []):
                    groups[str(name)].append(c)
        return groups


def read_results(folder: Path) -> Comparison:
    """Read the finished runs of a comparison; the methods stay in the order of its config.

    Raises:
        FileNotFoundError: the folder holds no comparison.
        ValueError: no run is finished, or two methods were tested on different images.
    """
    finished = plan.read_results(folder)
    if not finished:
        raise ValueError(f"no run in {folder} is finished; run tools/compare.py to its end")
    results: dict[str, dict[int, Result]] = {}
    predictions: dict[str, Predictions] = {}
    attention: dict[str, Mapping[int, AttentionMaps]] = {}
    for result in finished:
        results.setdefault(result["method"], {})[result["seed"]] = result
    for method, by_seed in results.items():
        [first] = plan.expand(folder, [method], [next(iter(by_seed))])
        file = first.folder / PREDICTIONS_FILE
        if file.is_file():
            predictions[method] = _read_predictions(file)
            attention[method] = read_gallery_attention(first.folder)
    _check_same_images(predictions)
    config = plan.read_comparison(folder)
    assert config is not None  # or there would be no results
    return Comparison(config, results, predictions, attention)


def label_lists(predictions: Predictions, name: str) -> list[np.ndarray]:
    """The labels of each image, one of the `sequence`, `predicted` or `truth` of a run."""
    return np.split(predictions[name], np.cumsum(predictions[f"{name}_length"])[:-1])


def value_at(result: Result, keys: Sequence[str]) -> float | None:
    """A number inside a result; None where it is absent, null or not a number."""
    value: Any = result
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return None if value is None or math.isnan(value) else float(value)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (divisor n − 1); None for the one of a single value."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), deviation


def paired_differences(
    values: Mapping[int, float], reference: Mapping[int, float]
) -> dict[int, float]:
    """A method's value minus the reference's, for each seed that both have."""
    return {seed: values[seed] - reference[seed] for seed in values if seed in reference}


def _read_predictions(file: Path) -> Predictions:
    """The arrays of a file; methods without a sequence get an empty one for each image."""
    with np.load(file) as arrays:
        read = dict(arrays)
    read.setdefault("sequence", np.empty(0, dtype=np.int32))
    read.setdefault("sequence_length", np.zeros_like(read["truth_length"]))
    return read


def _check_same_images(predictions: Mapping[str, Predictions]) -> None:
    """Raise a ValueError when methods were tested on different images or labels."""
    names = list(predictions)
    for name in names[1:]:
        for key in ("img_path", "truth", "truth_length", "classes"):
            if not np.array_equal(predictions[names[0]][key], predictions[name][key]):
                raise ValueError(
                    f"{names[0]} and {name} differ in the {key} of their test sets; compare "
                    "methods in the same folder only on the same dataset"
                )
