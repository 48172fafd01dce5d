"""What a comparison consists of: its runs, the file that says so, and what is finished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmorderless.runs.records import raise_if_changed, read_json

RECORD = "comparison.json"
RESULT = "result.json"
TIMES = "times.json"

METHODS = (
    *("bce", "asl", "csra"),
    *("pla", "mla", "frequent_first", "rare_first", "dictionary", "random"),
    *("pla_no_attention", "pla_gru", "pla_transformer", "mla_transformer"),
    *("cnn_rnn", "ria", "sr_cnn_rnn", "order_free", "order_search", "ocd"),
)
"""The methods of configs/_base_/methods, in the order of the tables."""


@dataclass(frozen=True)
class Run:
    """A training of one method with one seed, and its evaluation.

    Attributes:
        method: name of the method.
        seed: of the run's random numbers.
        folder: its work dir.
    """

    method: str
    seed: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.method} seed {self.seed}"


def expand(comparison: Path, methods: Sequence[str], seeds: Sequence[int]) -> list[Run]:
    """Return the runs of methods × seeds, each method once before the next seed begins.

    So a comparison that is cut short has all methods with the same seeds.

    Args:
        comparison: folder of the comparison.
        methods: names, of which repeats count once.
        seeds: the same.
    """
    return [
        Run(method, seed, comparison / method / f"seed_{seed}")
        for seed in dict.fromkeys(seeds)
        for method in dict.fromkeys(methods)
    ]


def run_in(folder: Path) -> Run:
    """Return the run whose work dir is METHOD/seed_S."""
    return Run(folder.parent.name, int(folder.name.removeprefix("seed_")), folder)


def read_comparison(comparison: Path) -> dict[str, Any] | None:
    """Return what `comparison.json` holds, None where nothing was begun.

    Raises:
        ValueError: the file is damaged, or of another version.
    """
    file = comparison / RECORD
    record = read_json(file)
    if record is None and file.exists():
        raise ValueError(
            f"{file} is damaged or of another version of mmorderless; choose another --work-dir"
        )
    return record


def joined(
    before: Mapping[str, Any] | None, now: Mapping[str, Any], changes: Sequence[str], folder: Path
) -> dict[str, Any]:
    """Join what a folder compares already with what is to be compared in it.

    Args:
        before: what `comparison.json` holds; None for a new folder.
        now: the same, of this call.
        changes: in which places the settings of the two differ.
        folder: of the comparison.

    Returns:
        What `comparison.json` is to hold: the methods and seeds of both.

    Raises:
        ValueError: the settings differ, so that the results could not be compared.
    """
    if before is None:
        return dict(now)
    own, asked = (record["options"].get("method_options", {}) for record in (before, now))
    changes = [
        *changes,
        *(
            f"options of {method}: {own.get(method, {})} → {asked.get(method, {})}"
            for method in now["methods"]
            if method in before["methods"] and own.get(method, {}) != asked.get(method, {})
        ),
    ]
    raise_if_changed(changes, f"{folder} holds a comparison")
    methods = {*before["methods"], *now["methods"]}
    return {
        **now,
        "options": {**now["options"], "method_options": {**own, **asked}},
        "methods": [method for method in METHODS if method in methods]
        + sorted(methods.difference(METHODS)),
        "seeds": sorted({*before["seeds"], *now["seeds"]}),
    }


def read_result(run: Run) -> dict[str, Any] | None:
    """Return what a finished run's `result.json` holds, None for a run that is not finished."""
    result = read_json(run.folder / RESULT)
    if result is None or (result.get("method"), result.get("seed")) != (run.method, run.seed):
        return None
    return result


def read_finished_results(comparison: Path) -> list[dict[str, Any]]:
    """Return the results of all finished runs of a comparison, in the order of its methods.

    Raises:
        FileNotFoundError: the folder holds no comparison.
        ValueError: `comparison.json` is damaged, or of another version.
    """
    record = read_comparison(comparison)
    if record is None:
        raise FileNotFoundError(
            f"{comparison} holds no {RECORD}; give the --work-dir of a run of tools/compare.py"
        )
    found = [
        read_result(run)
        for method in record["methods"]
        for run in expand(comparison, [method], record["seeds"])
    ]
    return [result for result in found if result is not None]
