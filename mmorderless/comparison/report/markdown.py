"""Write the tables of a comparison as Markdown."""

from pathlib import Path

from mmorderless.comparison.report.results import (
    REFERENCE,
    Result,
    caveats,
    read_results,
    timing_note,
)
from mmorderless.comparison.report.summary import where_reference_loses
from mmorderless.comparison.report.tables import (
    ALL_TABLES,
    NO_SEED,
    NOTHING,
    PRIOR,
    PRIOR_NAME,
    TABLES,
    TIME_TABLE,
    Results,
    Table,
    columns_with_values,
    header_of,
    row_names,
    row_of,
)
from mmorderless.runs.records import read_json


def markdown(table: Table, results: Results, prior: Result | None, note: str = "") -> str:
    """Write a table in Markdown; methods that have none of its values are left out.

    Args:
        table: which.
        results: by method and seed.
        prior: the label prior's; None leaves its row out.
        note: is written below the table.

    Returns:
        Its lines; nothing for a table without rows.
    """
    reference = results.get(REFERENCE, {})
    table = columns_with_values(table, results)
    header = header_of(table, reference)
    names = row_names(table, results)
    rows = {names[method]: row_of(table, own, reference) for method, own in results.items()}
    if prior is not None:
        rows[PRIOR_NAME] = row_of(table, {NO_SEED: prior}, reference)
    rows = {name: row for name, row in rows.items() if any(row)}
    if not rows:
        return ""
    lines = [
        f"## {table.title}",
        "",
        *(
            f"| {' | '.join(cells)} |"
            for cells in (
                ["method", *header],
                ["---", *["---:"] * len(header)],
                *([name, *(cell or NOTHING for cell in row)] for name, row in rows.items()),
            )
        ),
    ]
    for line in (note, where_reference_loses(table, results)):
        lines += ["", line] if line else []
    return "\n".join(lines) + "\n"


def write_tables(comparison: Path) -> Path:
    """Write `report/tables.md` from the runs that are finished.

    Args:
        comparison: folder of the comparison.

    Returns:
        The file.

    Raises:
        FileNotFoundError: the folder holds no comparison.
        ValueError: no run is finished.
    """
    read = read_results(comparison)
    results = read.results
    prior = read_json(comparison / PRIOR)
    seeds = sorted({seed for by_seed in results.values() for seed in by_seed})
    title = (
        f"# {len(results)} methods, seeds {', '.join(map(str, seeds))}: mean ± sample standard "
        "deviation\n"
    )
    notes = {TIME_TABLE.title: timing_note(read.timings)}
    parts = [title, *(f"{caveat}\n" for caveat in caveats(read))]
    parts += [markdown(t, results, prior, notes.get(t.title, "")) for t in ALL_TABLES]
    file = comparison / "report" / TABLES
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(part for part in parts if part), encoding="utf-8")
    return file
