"""Print a table of the metrics that `tools/test.py --out` wrote."""

import argparse
import json
from pathlib import Path
from typing import Any

COLUMNS = {
    "CF1": "C-F1",
    "OF1": "O-F1",
    "mAP": "mAP",
    "duplicates": "duplicates",
    "rigidness": "rigidness",
}


def table(results: dict[str, dict[str, float]]) -> str:
    """Return a Markdown table with a row per model; its metrics' names begin with `set/`."""
    rows = [["", *COLUMNS.values()], ["---", *["---:"] * len(COLUMNS)]]
    for name, metrics in results.items():
        numbers = [metrics.get(f"set/{key}") for key in COLUMNS]
        rows.append([name, *["–" if n is None else f"{n:.2f}" for n in numbers]])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths)) + " |" for row in rows
    )


def main(argv: list[str] | None = None) -> None:
    """Read the files named on the command line and print their table."""
    parser = argparse.ArgumentParser(description="Print a table of test results.")
    parser.add_argument("results", nargs="+", metavar="NAME=METRICS.json")
    results = {}
    for argument in parser.parse_args(argv).results:
        name, separator, path = argument.partition("=")
        if not separator:
            raise ValueError(f"expected NAME=METRICS.json, got {argument!r}")
        results[name] = _read_metrics(path)
    print(table(results))


def _read_metrics(path: str) -> dict[str, Any]:
    try:
        metrics = json.loads(Path(path).read_text(encoding="utf-8"))
    except (ValueError, RecursionError):
        metrics = None
    if not isinstance(metrics, dict):
        raise ValueError(f"{path} is not a JSON object; give a file of tools/test.py --out")
    return metrics
