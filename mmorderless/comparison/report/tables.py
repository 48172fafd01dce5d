"""The tables of a comparison, in Markdown.

All scores are in percent. A value over several seeds is written mean ± sample standard deviation; a
difference to PLA is paired, that is taken within each seed first.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mmorderless.comparison.report.results import (
    REFERENCE,
    Result,
    mean_and_deviation,
    paired_differences,
    value_at,
)
from mmorderless.figures.style import title_of

TABLES = "tables.md"
PRIOR = "label_prior.json"
PRIOR_NAME = "label prior"
NO_SEED = -1  # of what is the same for every seed, as the label prior and the times
NOTHING = "\N{EN DASH}"
DIALS = {"end_bias": "END bias", "threshold": "threshold"}

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


KINDS = {"max": "largest", "first": "first", "beam": "beam"}


def kind_columns(kind: str, title: str) -> list[Column]:
    """Return the columns of a kind of score: its ranking, and its sets above a threshold."""
    columns = [Column(f"mAP, {title}", ("mAP_by_score", kind))]
    for score, name in (("CF1", "C-F1"), ("OF1", "O-F1")):
        place = ("threshold_by_score", kind, score, "metrics", score)
        columns.append(Column(f"{name}, {title}", place))
    return columns


TIMES = ("forward", "alignment", "backward", "test")
TIME_TABLE = Table(
    "Table 3: time per image, in milliseconds",
    [Column(part, ("times_ms_per_image", part), better=-1, by_seed=False) for part in TIMES],
)
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
    TIME_TABLE,
    Table(
        "Number of labels: errors in labels per image at the default operating point",
        [
            Column("mean error (absolute)", ("default", "label_count_error"), better=-1),
            Column("bias (too many is above 0)", ("default", "label_count_bias"), better=0),
            Column("exact match, percent", ("default", "exact_match")),
        ],
    ),
    Table(
        "Kinds of score (largest over the steps, at the first emission, beam marginals): mAP, and "
        "F1 of the labels above a threshold chosen on held-out training images, in percent",
        [column for kind, title in KINDS.items() for column in kind_columns(kind, title)],
    ),
)


def values_of(by_seed: Mapping[int, Result], column: Column) -> dict[int, float]:
    """Return a method's values by seed, of the seeds that have one.

    A column without values of each seed has one, of `NO_SEED`.
    """
    found = {seed: value_at(result, column.keys) for seed, result in by_seed.items()}
    values = {seed: value for seed, value in found.items() if value is not None}
    if column.by_seed or not values:
        return values
    return {NO_SEED: next(iter(values.values()))}


def columns_with_values(table: Table, results: Results) -> Table:
    """Return a table without the columns that no method has a value for."""
    columns = [
        column
        for column in table.columns
        if any(values_of(by_seed, column) for by_seed in results.values())
    ]
    return replace(table, columns=columns)


def row_names(table: Table, results: Results) -> dict[str, str]:
    """Return how tables call the methods: with their numbers of seeds where these differ."""
    numbers = {method: len(by_seed) for method, by_seed in results.items()}
    by_seed = any(column.by_seed for column in table.columns)
    differ = by_seed and len(set(numbers.values())) > 1
    return {
        method: f"{title_of(method)} (n={number})" if differ else title_of(method)
        for method, number in numbers.items()
    }


def with_deviation(values: Sequence[float], digits: int, sign: str = "") -> str:
    """Write values as mean ± sample standard deviation, one value by itself, none as nothing.

    A minus is a true minus sign.
    """
    if not values:
        return ""
    mean, deviation = mean_and_deviation(values)
    mean = round(mean, digits) or 0.0  # not −0.00
    text = f"{mean:{sign}.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return text if deviation is None else f"{text} ± {deviation:.{digits}f}"


def dial_cell(by_seed: Mapping[int, Result], keys: tuple[str, ...]) -> str:
    """Write the dial's name and its value of each seed."""
    values = [
        f"{value:g}".replace("-", "\N{MINUS SIGN}")
        for value in values_of(by_seed, Column("dial", keys)).values()
    ]
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
            titles.append(f"to {title_of(REFERENCE)}")
    return titles
