"""Write the tables of a comparison as Markdown."""

from pathlib import Path

from mmorderless.comparison.report.filled_tables import fill_tables
from mmorderless.comparison.report.rendering import render
from mmorderless.comparison.report.results import caveats, load_comparison
from mmorderless.comparison.report.tables import PRIOR
from mmorderless.runs.files import write_text
from mmorderless.runs.records import read_json

TABLES = "tables.md"


def write_tables(comparison_dir: Path) -> Path:
    """Write `report/tables.md` from the finished runs, and return its path.

    Errors are those of `load_comparison`.
    """
    comparison = load_comparison(comparison_dir)
    seeds = sorted({seed for by_seed in comparison.results.values() for seed in by_seed})
    title = (
        f"{len(comparison.results)} methods, seeds {', '.join(map(str, seeds))}: mean ± sample "
        "standard deviation"
    )
    tables = fill_tables(comparison, read_json(comparison_dir / PRIOR))
    file = comparison_dir / "report" / TABLES
    write_text(file, render("tables.md", title=title, caveats=caveats(comparison), tables=tables))
    return file
