"""The tables of `tables.py` as HTML: sortable, with the values of each seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

from mmorderless.comparison.report.results import (
    REFERENCE,
    Result,
    mean_and_deviation,
    paired_differences,
)
from mmorderless.comparison.report.summary import where_reference_loses
from mmorderless.comparison.report.tables import (
    ALL_TABLES,
    DIALS,
    NO_SEED,
    NOTHING,
    PRIOR_NAME,
    TIME_TABLE,
    Column,
    Results,
    Table,
    columns_with_values,
    row_names,
    values_of,
    with_deviation,
)
from mmorderless.figures.style import title_of

SCORE_TABLES = [table for table in ALL_TABLES if table.title.startswith("Table 2")]
POINTS = ("default", "chosen for C-F1 on held-out images", "chosen for O-F1 on held-out images")
"""The operating points of these tables, of which the page shows one."""


class Cell(NamedTuple):
    """A method's values in a column, by seed; `dial` is the dial's name where they are its."""

    column: Column
    values: Mapping[int, float]
    dial: str = ""


def tables_part(results: Results, prior: Result | None, time_note: str = "") -> str:
    """All tables that the results have numbers for, and their controls.

    Args:
        results: the content of `result.json` by method and seed.
        prior: the label prior's; None leaves its row out.
        time_note: how the times were measured.
    """
    notes = {TIME_TABLE.title: time_note}
    elements = {
        table.title: table_element(table, results, prior, notes.get(table.title, ""))
        for table in ALL_TABLES
    }
    options = "".join(
        f'<option value="{table_id(table)}">{point}</option>'
        for table, point in zip(SCORE_TABLES, POINTS, strict=True)
        if elements[table.title]
    )
    controls = (
        '<div class="controls"><label class="field"><span>Operating point</span>'
        f'<select id="point" autocomplete="off">{options}</select></label>'
    )
    if REFERENCE in results and len(results) > 1:
        controls += (
            '<label class="tick"><input type="checkbox" id="differences" checked '
            f'autocomplete="off">Difference to {escape(title_of(REFERENCE))}</label>'
        )
    parts = []
    for table in ALL_TABLES:
        element = elements[table.title]
        if table is SCORE_TABLES[0]:
            parts.append(f"{controls}</div>")
        if table in SCORE_TABLES:
            hidden = "" if table is SCORE_TABLES[0] else " hidden"
            element = f'<div data-point="{table_id(table)}"{hidden}>\n{element}</div>'
        parts.append(element)
    return "\n".join(parts)


def table_id(table: Table) -> str:
    """The id of a table's element."""
    return f"table-{ALL_TABLES.index(table)}"


def table_element(table: Table, results: Results, prior: Result | None, own_note: str = "") -> str:
    """A table with what belongs to it; empty where no method has a number for it."""
    name = table_id(table)
    table = columns_with_values(table, results)
    names = row_names(table, results)
    with_prior: dict[str, Mapping[int, Result]] = dict(results)
    if prior is not None:
        with_prior[PRIOR_NAME] = {NO_SEED: prior}
    rows = {method: cells_of(table, by_seed) for method, by_seed in with_prior.items()}
    # A method that has nothing for this table has no row, as BCE in the table of orders.
    rows = {method: row for method, row in rows.items() if any(cell.values for cell in row)}
    if not rows:
        return ""
    best = [best_methods(rows, i) for i in range(len(next(iter(rows.values()))))]
    lines = []
    for method, row in rows.items():
        reference = rows.get(REFERENCE)
        cells = "".join(
            cell_element(
                cell,
                method in best[i],
                reference[i].values if reference and method != REFERENCE else {},
            )
            for i, cell in enumerate(row)
        )
        of_reference = ' class="reference"' if method == REFERENCE else ""
        lines.append(
            f'<tr{of_reference} data-method="{escape(method)}">'
            f'<th scope="row">{escape(names.get(method, method))}</th>{cells}</tr>'
        )
    columns = [cell.column for cell in next(iter(rows.values()))]
    head = header_cell("method", better=-1)
    head += "".join(header_cell(column.title, column.better) for column in columns)
    notes = [note for note in (own_note, where_reference_loses(table, results)) if note]
    return (
        f'<h3 class="caption" id="{name}-caption">{escape(table.title)}</h3>\n'
        f'<div class="scroll" tabindex="0" role="region" aria-labelledby="{name}-caption">\n'
        f'<table id="{name}" aria-labelledby="{name}-caption">\n'
        f'<thead class="sorts"><tr>{head}</tr></thead>\n<tbody>\n'
        + "\n".join(lines)
        + "\n</tbody></table></div>\n"
        + "".join(f'<p class="note">{escape(note)}</p>\n' for note in notes)
        + seeds_element(name, columns, rows)
    )


def cells_of(table: Table, by_seed: Mapping[int, Result]) -> list[Cell]:
    """A method's row: its dial, if the table has one, and its values."""
    cells = []
    if table.dial:
        dial = next(iter(by_seed.values())).get("dial")
        column = Column("dial", table.dial, better=0, digits=3)
        cells.append(Cell(column, values_of(by_seed, column), DIALS.get(str(dial), str(dial))))
    return cells + [Cell(column, values_of(by_seed, column)) for column in table.columns]


def header_cell(title: str, better: int) -> str:
    """A header that sorts; the first click puts the best first, or the largest."""
    first = "ascending" if better < 0 else "descending"
    return (
        f'<th scope="col" aria-sort="none" data-first="{first}">'
        f'<button type="button">{escape(title)}</button></th>'
    )


def cell_element(cell: Cell, is_best: bool, reference: Mapping[int, float]) -> str:
    """A cell: mean ± std, and below it the difference to the reference or the dial's name.

    Args:
        cell: what to show.
        is_best: whether the mean is the best of the column.
        reference: the reference's values, by seed; empty where there is nothing to compare with.
    """
    column, values = cell.column, cell.values
    if not values:
        return f"<td>{NOTHING}</td>"
    mean, *deviation = with_deviation(list(values.values()), column.digits).split(" ± ")
    text = f'<strong>{mean}</strong><span class="unseen"> (best)</span>' if is_best else mean
    if deviation:
        text += f' <span class="spread">± {deviation[0]}</span>'
    differences = list(paired_differences(values, reference).values())
    written = with_deviation(differences, column.digits, sign="+")
    if cell.dial:
        text += f'<span class="dial">{escape(cell.dial)}</span>'
    elif column.paired and differences:
        text += f'<span class="difference">{written}</span>'
    seeds = "measured once for all seeds"
    if column.by_seed:
        seeds = "\n".join(
            f"{seed_name(seed)}: {with_deviation([value], column.digits)}"
            for seed, value in values.items()
        )
    exact = mean_and_deviation(list(values.values()))[0]
    return (
        f'<td{" class=best" if is_best else ""} data-value="{exact!r}" '
        f'data-seeds="{escape(seeds)}">{text}</td>'
    )


def seeds_element(name: str, columns: Sequence[Column], rows: Mapping[str, Sequence[Cell]]) -> str:
    """The values of each seed, folded away; nothing where none has its own."""
    if not any(column.by_seed for column in columns):
        return ""
    head = "".join(f'<th scope="col">{escape(column.title)}</th>' for column in columns)
    lines = []
    for method, row in rows.items():
        for seed in dict.fromkeys(seed for cell in row for seed in cell.values):
            values = [[v for s, v in cell.values.items() if s == seed] for cell in row]
            cells = "".join(
                f"<td>{with_deviation(value, cell.column.digits) or NOTHING}</td>"
                for cell, value in zip(row, values)
            )
            title = escape(f"{title_of(method)}, {seed_name(seed)}")
            lines.append(f'<tr><th scope="row">{title}</th>{cells}</tr>')
    return (
        "<details><summary>Values of each seed</summary>"
        '<div class="scroll" tabindex="0" role="region" aria-label="Values of each seed">'
        f'<table id="{name}-seeds"><thead><tr><th scope="col">method, seed</th>{head}</tr></thead>'
        "<tbody>\n" + "\n".join(lines) + "\n</tbody></table></div></details>\n"
    )


def best_methods(rows: Mapping[str, Sequence[Cell]], i: int) -> set[str]:
    """The methods whose mean, as it is shown, is the best of column i; never the label prior."""
    column = next(iter(rows.values()))[i].column
    means = {
        method: round(mean_and_deviation(list(row[i].values.values()))[0], column.digits)
        for method, row in rows.items()
        if row[i].values and method != PRIOR_NAME
    }
    if column.better == 0 or not means:
        return set()
    best = max(column.better * mean for mean in means.values())
    return {method for method, mean in means.items() if column.better * mean == best}


def seed_name(seed: int) -> str:
    """How the page calls a seed."""
    return "every seed" if seed == NO_SEED else f"seed {seed}"
