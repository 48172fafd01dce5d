"""The scores of every run of a comparison as CSV, for statistics of one's own."""

import csv
import io
from pathlib import Path

from mmorderless.comparison.report.results import Comparison, value_at
from mmorderless.comparison.report.tables import ALL_TABLES
from mmorderless.runs.files import write_text


def write_runs(comparison: Comparison) -> Path:
    """Write `report/runs.csv`, a row for each finished run, and return its path.

    The columns are the method, the seed, and all values of the tables, named by their path in
    `result.json`; a value that a method does not have is empty.
    """
    paths = dict.fromkeys(
        keys
        for table in ALL_TABLES
        for keys in (*(column.keys for column in table.columns), table.parameter)
        if keys
    )
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["method", "seed", *(".".join(keys) for keys in paths)])
    for method, by_seed in comparison.results.items():
        for seed, result in by_seed.items():
            values = (value_at(result, keys) for keys in paths)
            row = ["" if value is None else f"{value:.4f}" for value in values]
            writer.writerow([method, seed, *row])
    file = comparison.folder / "report" / "runs.csv"
    write_text(file, text.getvalue())
    return file
