"""The runs of a comparison, its record, and its finished results."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from mmorderless.runs.records import raise_if_changed, read_json

RECORD = "comparison.json"
RESULT = "result.json"
PREDICTIONS = "predictions.npz"
TIMES = "times.json"
PRIOR = "label_prior.json"

METHODS = (
    *("bce", "bce_mlp", "class_queries"),
    *("bce_max", "asl", "deepmar", "two_way", "hill", "splc", "csra", "chain", "ctran"),
    *("srn", "ml_decoder", "query2label", "hp_net"),
    *("acf", "acfs", "wsddn", "rarl"),
    *("pla", "mla", "frequent_first", "rare_first", "dictionary", "random"),
    *("pla_no_attention", "pla_gru", "pla_transformer", "mla_transformer"),
    *("pla_cells", "pla_prompted", "pla_queries"),
    *("cnn_rnn", "ria", "sr_cnn_rnn", "multi_order", "order_free", "order_search", "ocd"),
    *("lsep", "lsep_count", "soft_iou", "target_distribution", "bce_count", "lqp"),
    *("set_pool", "set_pool_transformer", "known_sets"),
)
"""Methods of configs/_base_/methods in the order of the tables."""

NEED_IMAGES = ("acf", "acfs")
"""Methods that make views of the images and so cannot be trained on cached features."""

CACHED = "FeaturePassThrough"
"""Backbone of a config that reads cached features."""


@dataclass(frozen=True)
class Run:
    """The training and evaluation of a method with a seed, in a work dir of its own."""

    method: str
    seed: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.method} seed {self.seed}"


def expand(comparison: Path, methods: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    """Return the runs of methods × seeds, all methods of a seed before the next seed.

    So the methods of an interrupted comparison have the same seeds.
    """
    return [
        Run(method, seed, comparison / method / f"seed_{seed}")
        for seed in dict.fromkeys(seeds)
        for method in dict.fromkeys(methods)
    ]


def run_in(folder: Path) -> Run:
    """Return the run of the work dir METHOD/seed_S."""
    return Run(folder.parent.name, int(folder.name.removeprefix("seed_")), folder)


def read_comparison_record(comparison: Path) -> dict[str, Any] | None:
    """Read `comparison.json`; None if there is none.

    Raises:
        ValueError: the file is damaged or of another version.
    """
    file = comparison / RECORD
    record = read_json(file)
    if record is None and file.exists():
        raise ValueError(
            f"{file} is damaged or of another version of mmorderless; choose another --work-dir"
        )
    return record


def merge_records(
    before: Mapping[str, Any] | None, now: Mapping[str, Any], changes: Sequence[str], folder: Path
) -> dict[str, Any]:
    """Merge the record of a folder with that of this call.

    Returns:
        The new content of `comparison.json`: the methods and seeds of both.

    Raises:
        ValueError: the settings differ, so that the results would not be comparable.
    """
    if before is None:
        return dict(now)
    old, new = (record["options"].get("method_options", {}) for record in (before, now))
    changes = [
        *changes,
        *(
            f"options of {method}: {old.get(method, {})} → {new.get(method, {})}"
            for method in now["methods"]
            if method in before["methods"] and old.get(method, {}) != new.get(method, {})
        ),
    ]
    raise_if_changed(changes, f"{folder} holds a comparison")
    methods = {*before["methods"], *now["methods"]}
    return {
        **now,
        "options": {**now["options"], "method_options": {**old, **new}},
        "methods": [method for method in METHODS if method in methods]
        + sorted(methods.difference(METHODS)),
        "seeds": sorted({*before["seeds"], *now["seeds"]}),
    }


def read_result(run: Run) -> dict[str, Any] | None:
    """Read a finished run's `result.json`; None for an unfinished run."""
    result = read_json(run.folder / RESULT)
    if result is None or (result.get("method"), result.get("seed")) != (run.method, run.seed):
        return None
    return result


def read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Read an `.npz` file of a finished run; NumPy compares its checksums.

    Raises:
        ValueError: the file is missing or damaged.
    """
    try:
        with file.open("rb") as stream, np.load(stream) as arrays:
            return dict(arrays)
    except (
        *(FileNotFoundError, ValueError, EOFError),
        *(BadZipFile, NotImplementedError, zlib.error),
    ) as error:
        raise ValueError(
            f"{file} is missing or damaged ({error}); remove {file.with_name(RESULT)} and run "
            "tools/compare.py again to evaluate this run again"
        ) from error


def read_finished_results(comparison: Path) -> list[dict[str, Any]]:
    """Read the results of all finished runs, in the order of the comparison's methods.

    Raises:
        FileNotFoundError: the folder holds no comparison.
        ValueError: `comparison.json` is damaged or of another version.
    """
    record = read_comparison_record(comparison)
    if record is None:
        raise FileNotFoundError(
            f"{comparison} holds no {RECORD}; give the --work-dir of a call of tools/compare.py"
        )
    found = [
        read_result(run)
        for method in record["methods"]
        for run in expand(comparison, [method], record["seeds"])
    ]
    return [result for result in found if result is not None]
