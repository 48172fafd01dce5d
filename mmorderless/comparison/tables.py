"""The tables of a comparison, in Markdown.

All scores are in percent. A value over several seeds is written mean ± sample standard deviation; a
difference to PLA is paired, that is taken within each seed first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .plan import read_json
from .results import (
    REFERENCE,
    Result,
    mean_and_deviation,
    paired_differences,
    read_results,
    value_at,
)

TABLES = "tables.md"
PRIOR = "label_prior.json"
PRIOR_NAME = "label prior"
NO_SEED = -1  # the label prior is the same for every seed
DIALS = {"end_bias": "END bias", "stop_bias": "stop bias", "threshold": "threshold"}

Results = Mapping[str, Mapping[int, Result]]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its header.
        keys: where its value is in `result.json`.
        better: 1 where more is better, −1 where less is, 0 where neither.
        paired: whether a column with the paired difference to PLA follows.
        by_seed: whether each seed has a value of its own.
        digits: digits after the point.
    """

    title: str
    keys: tuple[str, ...]
    better: int = 1
    paired: bool = False
    by_seed: bool = True
    digits: int = 2


@dataclass(frozen=True)
class Table:
    """A table: what it is called, its columns, and where its dial's values are, if anywhere."""

    title: str
    columns: Sequence[Column]
    dial: tuple[str, ...] = ()


def score_columns(*place: str) -> list[Column]:
    """Return the columns of Table 2, with the place of their values in `result.json`."""
    paired = {"CF1": "C-F1", "OF1": "O-F1", "mAP": "mAP"}
    titles = {"CP": "C-P", "CR": "C-R", "CF1": "", "OP": "O-P", "OR": "O-R", "OF1": "", "mAP": ""}
    return [
        Column(title or paired[name], (*place, name), paired=name in paired)
        for name, title in titles.items()
    ]


TIMES = ("forward", "alignment", "backward", "test")
ALL_TABLES = (
    Table(
        "Table 1: order of the emitted labels, in percent",
        [
            Column("duplicates", ("default", "duplicates"), better=-1),
            Column("rigidness", ("default", "rigidness"), better=0),
            Column("rigidness of random orders", ("default", "rigidness_random"), better=0),
        ],
    ),
    Table("Table 2: scores at the default operating point, in percent", score_columns("default")),
    *(
        Table(
            f"Table 2 at the operating point chosen for {title} on held-out training images",
            score_columns("tuned", score, "metrics"),
            dial=("tuned", score, "value"),
        )
        for score, title in (("CF1", "C-F1"), ("OF1", "O-F1"))
    ),
    Table(
        "Table 3: time per image, in milliseconds",
        [Column(part, ("times_ms_per_image", part), better=-1, by_seed=False) for part in TIMES],
    ),
    Table(
        "Number of labels: errors in labels per image at the default operating point",
        [
            Column("mean error (absolute)", ("default", "label_count_error"), better=-1),
            Column("bias (too many is above 0)", ("default", "label_count_bias"), better=0),
            Column("exact match, percent", ("default", "exact_match")),
        ],
    ),
    Table(
        "mAP by kind of score, in percent",
        [
            Column("largest over the steps", ("mAP_by_score", "max")),
            Column("at the first emission", ("mAP_by_score", "first")),
            Column("beam marginals", ("mAP_by_score", "beam")),
        ],
    ),
)


def values_of(by_seed: Mapping[int, Result], column: Column) -> dict[int, float]:
    """Return a method's values by seed, of the seeds that have one."""
    found = {seed: value_at(result, column.keys) for seed, result in by_seed.items()}
    values = {seed: value for seed, value in found.items() if value is not None}
    return values if column.by_seed else dict(list(values.items())[:1])


def with_deviation(values: Sequence[float], digits: int, sign: str = "") -> str:
    """Write values as mean ± sample standard deviation, one value by itself, none as nothing."""
    if not values:
        return ""
    mean, deviation = mean_and_deviation(values)
    text = f"{mean:{sign}.{digits}f}"
    return text if deviation is None else f"{text} ± {deviation:.{digits}f}"


def dial_cell(by_seed: Mapping[int, Result], keys: tuple[str, ...]) -> str:
    """Write the dial's name and its value of each seed."""
    values = [f"{value:g}" for value in values_of(by_seed, Column("dial", keys)).values()]
    [name] = {result.get("dial") for result in by_seed.values()}
    shown = values[0] if len(set(values)) == 1 else ", ".join(values)
    return f"{DIALS.get(str(name), name)} {shown}" if values else ""


def row_of(table: Table, by_seed: Mapping[int, Result], reference: Mapping[int, Result]) -> list:
    """Return a method's cells."""
    cells = [dial_cell(by_seed, table.dial)] if table.dial else []
    for column in table.columns:
        values = values_of(by_seed, column)
        cells.append(with_deviation(list(values.values()), column.digits))
        if column.paired and reference:
            differences = paired_differences(values, values_of(reference, column))
            text = with_deviation(list(differences.values()), column.digits, sign="+")
            cells.append("" if by_seed is reference else text)
    return cells


def header_of(table: Table, reference: Mapping[int, Result]) -> list[str]:
    """Return the titles of a table's cells."""
    titles = ["dial"] if table.dial else []
    for column in table.columns:
        titles.append(column.title)
        if column.paired and reference:
            titles.append(f"to {REFERENCE.upper()}")
    return titles


def losses_of_reference(column: Column, results: Results) -> list[str]:
    """Name the methods that are better than PLA in a column.

    Returns:
        Each method with its difference; * marks one whose paired differences have a mean larger
        than their sample standard deviation.
    """
    reference = values_of(results[REFERENCE], column)
    if not reference:
        return []
    found = []
    for method, by_seed in results.items():
        values = values_of(by_seed, column)
        if method == REFERENCE or not values:
            continue
        difference = (
            mean_and_deviation(list(values.values()))[0]
            - mean_and_deviation(list(reference.values()))[0]
        )
        if column.better * difference <= 0:
            continue
        paired = list(paired_differences(values, reference).values())
        mean, deviation = mean_and_deviation(paired) if paired else (0.0, None)
        mark = "*" if deviation is not None and column.better * mean > deviation else ""
        found.append(
            (-column.better * difference, f"{method} ({difference:+.{column.digits}f}){mark}")
        )
    return [text for _, text in sorted(found)]


def where_reference_loses(table: Table, results: Results) -> str:
    """Say in one line in which columns which methods are better than PLA."""
    if REFERENCE not in results or len(results) == 1:
        return ""
    columns = [column for column in table.columns if column.better]
    # Precision by itself says nothing: it is bought with recall.
    columns = [column for column in columns if column.paired] or columns
    better = {column.title: losses_of_reference(column, results) for column in columns}
    name = REFERENCE.upper()
    lost = "; ".join(
        f"{title}: {', '.join(methods)}" for title, methods in better.items() if methods
    )
    if not lost:
        return f"No method is better than {name} in {', '.join(better)}."
    mark = "*: the mean of the paired differences exceeds their standard deviation."
    return f"{name} does not win in {lost}." + (f" ({mark})" if "*" in lost else "")


def markdown(table: Table, results: Results, prior: Result | None) -> str:
    """Write a table in Markdown; methods that have none of its values are left out.

    Args:
        table: which.
        results: by method and seed.
        prior: the label prior's; None leaves its row out.
    """
    reference = results.get(REFERENCE, {})
    header = header_of(table, reference)
    rows = {method: row_of(table, by_seed, reference) for method, by_seed in results.items()}
    if prior is not None:
        rows[PRIOR_NAME] = row_of(table, {NO_SEED: prior}, reference)
    lines = [
        f"## {table.title}",
        "",
        *(
            f"| {' | '.join(cells)} |"
            for cells in (
                ["method", *header],
                ["---", *["---:"] * len(header)],
                *([method, *row] for method, row in rows.items() if any(row)),
            )
        ),
    ]
    if note := where_reference_loses(table, results):
        lines += ["", note]
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
    results = read_results(comparison).results
    prior = read_json(comparison / PRIOR)
    seeds = sorted({seed for by_seed in results.values() for seed in by_seed})
    title = (
        f"# {len(results)} methods, seeds {', '.join(map(str, seeds))}: mean ± sample standard "
        "deviation\n"
    )
    parts = [title, *(markdown(table, results, prior) for table in ALL_TABLES)]
    file = comparison / "report" / TABLES
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(parts), encoding="utf-8")
    return file
