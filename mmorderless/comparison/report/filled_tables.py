"""The tables of `tables.py` with the values of a comparison, for all output formats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mmorderless.comparison.report.results import (
    REFERENCE,
    Comparison,
    Result,
    known_sets_note,
    mean_and_deviation,
    paired_differences,
    sizes_note,
    timing_note,
)
from mmorderless.comparison.report.summary import where_reference_loses
from mmorderless.comparison.report.tables import (
    ALL_TABLES,
    BY_CONSTRUCTION,
    COUNT_TABLE,
    MARK,
    PARAMETERS,
    PRIOR_NAME,
    SEED_INDEPENDENT,
    SIZE_TABLE,
    TIME_TABLE,
    Column,
    Results,
    Table,
    values_of,
    with_deviation,
    with_minus,
)
from mmorderless.figures.style import title_of


@dataclass(frozen=True)
class Cell:
    """A method's values in a column.

    Attributes:
        column: the column.
        values: by seed.
        reference: values of the reference method by seed; empty if there is nothing to compare.
        parameter: name of the operating parameter if the values are its values, else "".
        best: whether the mean is the best of the column.
        by_construction: whether the values follow from the method's construction.
    """

    column: Column
    values: Mapping[int, float]
    reference: Mapping[int, float]
    parameter: str = ""
    best: bool = False
    by_construction: bool = False

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return mean_and_deviation(list(self.values.values()))[0]

    @property
    def value(self) -> str:
        """Mean ± sample standard deviation."""
        return with_deviation(list(self.values.values()), self.column.digits)

    @property
    def difference(self) -> str:
        """Mean ± standard deviation of the paired differences to the reference method."""
        if not self.column.paired:
            return ""
        differences = list(paired_differences(self.values, self.reference).values())
        return with_deviation(differences, self.column.digits, sign="+")

    @property
    def text(self) -> str:
        """Mean ± standard deviation with its mark, or the operating parameter's name and values."""
        if not self.parameter or not self.values:
            return f"{self.value} {self.mark}".rstrip()
        values = [with_minus(f"{value:.3g}") for value in self.values.values()]
        return f"{self.parameter} {values[0] if len(set(values)) == 1 else ', '.join(values)}"

    @property
    def mark(self) -> str:
        """Mark of values that follow from the method's construction, else ""."""
        return MARK if self.by_construction and self.values else ""

    @property
    def seeds_text(self) -> str:
        """The value of each seed, one per line."""
        if not self.column.by_seed:
            return "measured once for all seeds"
        return "\n".join(f"{seed_name(seed)}: {self.of_seed(seed)}" for seed in self.values)

    def of_seed(self, seed: int) -> str:
        """The value of one seed; "" without one."""
        values = [self.values[seed]] if seed in self.values else []
        return with_deviation(values, self.column.digits)


@dataclass(frozen=True)
class Row:
    """The cells of a method; `title` is the method's name as shown."""

    method: str
    title: str
    cells: list[Cell]

    @property
    def is_reference(self) -> bool:
        """Whether the row is that of the reference method."""
        return self.method == REFERENCE


@dataclass(frozen=True)
class FilledTable:
    """A table with its values.

    Attributes:
        name: identifier, unique in the report.
        title: caption.
        point: operating point; see `Table`.
        columns: columns that have values.
        rows: methods that have values, and the label prior.
        notes: sentences below the table.
    """

    name: str
    title: str
    point: str
    columns: list[Column]
    rows: list[Row]
    notes: list[str]

    @property
    def has_reference(self) -> bool:
        """Whether differences to the reference method can be shown."""
        return any(row.is_reference for row in self.rows)

    @property
    def seed_rows(self) -> list[tuple[str, list[str]]]:
        """Method and seed, and the value of each column; empty if no column differs by seed."""
        if not any(column.by_seed for column in self.columns):
            return []
        return [
            (
                f"{title_of(row.method)}, {seed_name(seed)}",
                [cell.of_seed(seed) for cell in row.cells],
            )
            for row in self.rows
            for seed in dict.fromkeys(seed for cell in row.cells for seed in cell.values)
        ]


def fill_tables(comparison: Comparison) -> list[FilledTable]:
    """Fill all tables that have values; without a label prior its row is left out."""
    notes = {
        TIME_TABLE.title: timing_note(comparison.timings),
        COUNT_TABLE.title: known_sets_note(comparison.prior),
        SIZE_TABLE.title: sizes_note(comparison.results),
    }
    filled = [
        fill_table(
            table, comparison.results, comparison.prior, notes.get(table.title, ""), f"table-{i}"
        )
        for i, table in enumerate(ALL_TABLES)
    ]
    return [table for table in filled if table is not None]


def fill_table(
    table: Table, results: Results, prior: Result | None, note: str = "", name: str = ""
) -> FilledTable | None:
    """Fill a table; methods and columns without a value are left out. None if no method has one."""
    columns = [
        column
        for column in table.columns
        if any(values_of(by_seed, column) for by_seed in results.values())
    ]
    if table.parameter:
        columns.insert(0, Column("parameter", table.parameter, better=0, digits=3))
    all_results = dict(results)
    if prior is not None:
        all_results[PRIOR_NAME] = {SEED_INDEPENDENT: prior}
    reference = results.get(REFERENCE, {})
    titles = row_titles(columns, results)
    rows = []
    for method, by_seed in all_results.items():
        kind = str(next(iter(by_seed.values())).get("operating_parameter"))
        cells = [
            Cell(
                column,
                values_of(by_seed, column),
                values_of(reference, column) if method != REFERENCE else {},
                PARAMETERS.get(kind, kind) if column.keys == table.parameter else "",
                by_construction=all(
                    result.get(column.by_construction) for result in by_seed.values()
                ),
            )
            for column in columns
        ]
        if any(cell.values for cell in cells):
            rows.append(Row(method, titles.get(method, method), cells))
    if not rows:
        return None
    marked = any(cell.mark for row in rows for cell in row.cells)
    notes = [note, BY_CONSTRUCTION if marked else "", where_reference_loses(table, results)]
    return FilledTable(
        name, table.title, table.point, columns, mark_best(rows), list(filter(None, notes))
    )


def row_titles(columns: Sequence[Column], results: Results) -> dict[str, str]:
    """Return the methods' names, with their numbers of seeds if these differ."""
    numbers = {method: len(by_seed) for method, by_seed in results.items()}
    by_seed = any(column.by_seed for column in columns)
    differ = by_seed and len(set(numbers.values())) > 1
    return {
        method: f"{title_of(method)} (n={number})" if differ else title_of(method)
        for method, number in numbers.items()
    }


def mark_best(rows: Sequence[Row]) -> list[Row]:
    """Mark the best means of each column, as they are written; never those of the label prior."""
    scores = [
        [
            cell.column.better * round(cell.mean, cell.column.digits)
            if cell.column.better and cell.values and row.method != PRIOR_NAME
            else float("-inf")
            for cell in row.cells
        ]
        for row in rows
    ]
    best = [max(column) for column in zip(*scores)]
    return [
        replace(
            row,
            cells=[
                replace(cell, best=score == highest > float("-inf"))
                for cell, score, highest in zip(row.cells, own, best)
            ],
        )
        for row, own in zip(rows, scores)
    ]


def seed_name(seed: int) -> str:
    """Return how tables refer to a seed."""
    return "every seed" if seed == SEED_INDEPENDENT else f"seed {seed}"
