"""Read the results of a comparison, and aggregate values over seeds."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config

from mmorderless.comparison.evaluation.gallery import AttentionMaps, read_gallery_attention
from mmorderless.comparison.evaluation.trained import CONFIG
from mmorderless.comparison.plan import (
    CACHED,
    NEED_IMAGES,
    PREDICTIONS,
    PRIOR,
    TIMES,
    expand,
    read_arrays,
    read_comparison_record,
    read_finished_results,
)
from mmorderless.figures.style import title_of
from mmorderless.labels.label_lists import RaggedLabels
from mmorderless.metrics.set_scores import sequence_scores_by_size
from mmorderless.runs.records import read_json

REFERENCE = "pla"
"""Method with which the others are compared."""
OTHER = "other"
"""Group of the classes that belong to no other group."""
BY_SIZE = "by_size"
"""Key of `sequence_scores_by_size`, which `load_comparison` adds to results."""

Result = Mapping[str, Any]
Predictions = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """A comparison's results.

    Attributes:
        folder: work dir of the comparison.
        prior: content of `label_prior.json`, the scores of the label prior; None without it.
        config: content of `comparison.json`.
        results: content of `result.json` by method and seed, for the finished runs; with `BY_SIZE`
            if a run emits sequences.
        predictions: arrays of `predictions.npz` by method, for each method's first seed.
        attention: attention maps of the gallery's photos by method and image, for the same runs;
            empty for methods without maps.
        timings: content of `times.json` by method.
        crops: names of transforms that crop the network's input from the photo. Methods with such
            a transform have no attention maps here, because these would not fit the photo.
    """

    folder: Path
    prior: Result | None
    config: Mapping[str, Any]
    results: Mapping[str, Mapping[int, Result]]
    predictions: Mapping[str, Predictions]
    attention: Mapping[str, Mapping[int, AttentionMaps]]
    timings: Mapping[str, Mapping[str, Any]]
    crops: Sequence[str]

    @property
    def groups(self) -> dict[str, list[int]]:
        """Class indices by group name, such as COCO's supercategories.

        If the dataset has groups, the remaining classes are in `OTHER`.
        """
        names: Any = next(iter(self.predictions.values()), {}).get("groups", [])
        if not any(names):
            return {}
        groups: dict[str, list[int]] = {str(name): [] for name in names if name}
        for c, name in enumerate(names):
            groups.setdefault(str(name) or OTHER, []).append(c)
        return groups


def load_comparison(folder: Path) -> Comparison:
    """Read the finished runs of a comparison, in the order of its methods.

    Raises:
        FileNotFoundError: the folder holds no comparison.
        ValueError: no run is finished, or two methods were tested on different images.
    """
    finished = read_finished_results(folder)
    if not finished:
        raise ValueError(f"no run in {folder} is finished; run tools/compare.py to its end")
    results: dict[str, dict[int, Result]] = {}
    predictions: dict[str, Predictions] = {}
    attention: dict[str, Mapping[int, AttentionMaps]] = {}
    crops: dict[str, None] = {}
    for result in finished:
        method, seed = result["method"], result["seed"]
        [run] = expand(folder, [method], [seed])
        file = run.folder / PREDICTIONS
        arrays = read_arrays(file) if file.is_file() else None
        if arrays is not None and method not in results:
            predictions[method] = arrays
            own_crops = crops_of(run.folder / CONFIG)
            crops.update(dict.fromkeys(own_crops))
            attention[method] = {} if own_crops else read_gallery_attention(run.folder)
        if arrays is not None and result.get("sequence"):
            by_size = sequence_scores_by_size(
                ragged_of(arrays, "sequence"), arrays["truth_length"], len(arrays["classes"])
            )
            result = {**result, BY_SIZE: by_size}
        results.setdefault(method, {})[seed] = result
    times = {method: read_json(folder / method / TIMES) for method in results}
    timings = {method: found for method, found in times.items() if found is not None}
    check_same_images(predictions)
    config = read_comparison_record(folder)
    assert config is not None  # or there would be no results
    prior = read_json(folder / PRIOR)
    return Comparison(folder, prior, config, results, predictions, attention, timings, list(crops))


def crops_of(config: Path) -> list[str]:
    """Return the names of the crops in the test pipeline; none without a config."""
    if not config.is_file():
        return []
    cfg = Config.fromfile(config, import_custom_modules=False)

    def kinds(value: Any) -> list[str]:
        if isinstance(value, Mapping):
            return [str(value.get("type")), *kinds(list(value.values()))]
        return [kind for v in value for kind in kinds(v)] if isinstance(value, list) else []

    found = kinds(cfg.get("test_dataloader"))
    return [kind for kind in dict.fromkeys(found) if "Crop" in kind]


def caveats(comparison: Comparison) -> list[str]:
    """Return sentences on limits of the results' comparability."""
    config = comparison.config
    files = {str(config.get("settings", {}).get("load_from") or ""): ""}
    for method, own in config.get("options", {}).get("method_options", {}).items():
        files.setdefault(str(own.get("load_from") or ""), f" ({method})")
    sentences = [
        f"Weights from {file}{of}: if they were trained on the held-out images, the chosen "
        "operating points are optimistic."
        for file, of in files.items()
        if file
    ]
    used: dict[str, dict[str, None]] = {}
    for by_seed in comparison.results.values():
        for result in by_seed.values():
            for name, version in (result.get("versions") or {}).items():
                used.setdefault(name, {})[str(version)] = None
    differ = [f"{name} {', '.join(found)}" for name, found in used.items() if len(found) > 1]
    if differ:
        sentences.append(f"The runs used different versions: {'; '.join(differ)}.")
    model = config.get("settings", {}).get("model") or {}
    if (model.get("backbone") or {}).get("type") == CACHED:
        names = ", ".join(map(title_of, NEED_IMAGES))
        sentences.append(f"Left out, because cached features are not images: {names}.")
    return sentences


def timing_note(timings: Mapping[str, Mapping[str, Any]]) -> str:
    """Return how the times were measured, and which methods see several views; "" without times."""
    methods: dict[str, list[str]] = {}
    for method, times in timings.items():
        methods.setdefault(_conditions(times), []).append(method)
    views = "".join(
        f" {title_of(method)} is trained on {times['views']} views of each image."
        for method, times in timings.items()
        if times.get("views", 1) > 1
    )
    if len(methods) < 2:
        return "".join(f"{how[:1].upper()}{how[1:]}." for how in methods if how) + views
    each = "; ".join(f"{', '.join(names)}: {how or 'unknown'}" for how, names in methods.items())
    return (
        f"These times were measured under different conditions and are not comparable. {each}."
        f"{views}"
    )


def _conditions(times: Mapping[str, Any]) -> str:
    """Return the known conditions under which a method was timed."""
    threads = times.get("threads")
    parts = [
        f"batch {times['batch']}" if times.get("batch") else "",
        f"{threads} thread{'s' if threads != 1 else ''}" if threads else "",
        times["device"] if times.get("device", "cpu") != "cpu" else "",
        str(times.get("machine") or ""),
    ]
    backbone = times.get("backbone")
    if backbone == CACHED:
        parts.append("cached features: the backbone is not included")
    elif backbone:
        parts.append(f"with the backbone, {backbone}")
    return ", ".join(part for part in parts if part)


def known_sets_note(prior: Result | None) -> str:
    """Return how many test sets occur in training; "" where that is not recorded."""
    share = value_at(prior or {}, ("known_sets",))
    known = "of the test images have a label set that occurs among the training images"
    return "" if share is None else f"{share:.1f} % {known}."


def sizes_note(results: Mapping[str, Mapping[int, Result]]) -> str:
    """Return how many test images have each number of labels; "" without sequences."""
    runs = [result for by_seed in results.values() for result in by_seed.values()]
    sizes: Mapping[str, Any] = next((result[BY_SIZE] for result in runs if BY_SIZE in result), {})
    numbers = ", ".join(f"{size}: {scores['num_images']:,}" for size, scores in sizes.items())
    reading = "Few images look rigid by chance: compare with random orders"
    return f"Test images by number of labels: {numbers}. {reading}." if sizes else ""


def ragged_of(predictions: Predictions, name: str) -> RaggedLabels:
    """Return the labels of all images as two arrays, as `label_lists`."""
    return RaggedLabels(predictions[name].astype(np.int64), predictions[f"{name}_length"])


def label_lists(predictions: Predictions, name: str) -> list[np.ndarray]:
    """Return the labels of each image: `sequence`, `predicted` or `truth` of a run."""
    return np.split(predictions[name], np.cumsum(predictions[f"{name}_length"])[:-1])


def value_at(result: Result, keys: Sequence[str]) -> float | None:
    """Return a number in a result; None if it is absent, null or NaN."""
    value: Any = result
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return None if value is None or math.isnan(value) else float(value)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Return mean and sample standard deviation (divisor n − 1; None for a single value)."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return float(np.mean(values)), deviation


def paired_differences(
    values: Mapping[int, float], reference: Mapping[int, float]
) -> dict[int, float]:
    """Return the method's value minus the reference's, for each seed that both have."""
    return {seed: values[seed] - reference[seed] for seed in values if seed in reference}


def check_same_images(predictions: Mapping[str, Predictions]) -> None:
    """Raise a ValueError if methods were tested on different images or labels."""
    names = list(predictions)
    for name in names[1:]:
        for key in ("img_path", "truth", "truth_length", "classes"):
            if not np.array_equal(predictions[names[0]][key], predictions[name][key]):
                raise ValueError(
                    f"{names[0]} and {name} differ in the {key} of their test sets; compare "
                    "methods in the same folder only on the same dataset"
                )
