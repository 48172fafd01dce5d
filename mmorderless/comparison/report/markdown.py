"""Write the tables of a comparison as Markdown."""

from pathlib import Path

from mmorderless.comparison.report.filled_tables import fill_tables
from mmorderless.comparison.report.rendering import render
from mmorderless.comparison.report.results import Comparison, caveats
from mmorderless.runs.files import write_text


def write_tables(comparison: Comparison) -> Path:
    """Write `report/tables.md`, and return its path."""
    seeds = sorted({seed for by_seed in comparison.results.values() for seed in by_seed})
    title = (
        f"{len(comparison.results)} methods, seeds {', '.join(map(str, seeds))}: mean ± sample "
        "standard deviation"
    )
    tables = fill_tables(comparison)
    file = comparison.folder / "report" / "tables.md"
    write_text(file, render("tables.md", title=title, caveats=caveats(comparison), tables=tables))
    return file
