"""The tables of a comparison: their columns, and how values are written.

Scores are in percent. A value over several seeds is written as mean ± sample standard deviation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mmorderless.comparison.evaluation.method_times import TIMED_PARTS
from mmorderless.comparison.report.results import BY_SIZE, Result, mean_and_deviation, value_at
from mmorderless.metrics.set_scores import SIZES

PRIOR_NAME = "label prior"
SEED_INDEPENDENT = -1
PARAMETERS = {"end_bias": "END bias", "theta": "θ", "threshold": "threshold"}

MARK = "\N{DAGGER}"
BY_CONSTRUCTION = f"{MARK} By construction: the method cannot emit a label twice."

Results = Mapping[str, Mapping[int, Result]]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: header.
        keys: path of the value in `result.json`.
        better: 1 if higher is better, −1 if lower is better, 0 if neither.
        paired: whether the paired difference to PLA is shown.
        by_seed: whether each seed has its own value.
        digits: digits after the decimal point.
        by_construction: key in `result.json` that says whether the value follows from the method's
            construction; such values are marked.
    """

    title: str
    keys: tuple[str, ...]
    better: int = 1
    paired: bool = False
    by_seed: bool = True
    digits: int = 2
    by_construction: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        title: caption.
        columns: columns after the method's name.
        point: operating point of the scores; the report shows the tables of one point at a time.
        parameter: path of the operating parameter's value in `result.json`; empty without one.
    """

    title: str
    columns: Sequence[Column]
    point: str = ""
    parameter: tuple[str, ...] = ()


def score_columns(*keys: str) -> list[Column]:
    """Return the columns of Table 2, whose values are under a path in `result.json`."""
    paired = {"CF1": "C-F1", "OF1": "O-F1", "mAP": "mAP"}
    titles = {"CP": "C-P", "CR": "C-R", "CF1": "", "OP": "O-P", "OR": "O-R", "OF1": "", "mAP": ""}
    return [
        Column(title or paired[name], (*keys, name), paired=name in paired)
        for name, title in titles.items()
    ]


KINDS = {"max": "largest", "first": "first", "beam": "beam", "own": "own"}


def kind_columns(kind: str, title: str) -> list[Column]:
    """Return the columns of a kind of score: mAP, and F1 of the labels above a threshold."""
    columns = [Column(f"mAP, {title}", ("mAP_by_score", kind))]
    for score, name in (("CF1", "C-F1"), ("OF1", "O-F1")):
        keys = ("threshold_by_score", kind, score, "metrics", score)
        columns.append(Column(f"{name}, {title}", keys))
    return columns


COST_COLUMNS = [
    Column(f"{part}, ms", ("times_ms_per_image", part), better=-1, by_seed=False)
    for part in ("training", "test")
]
TIME_TABLE = Table(
    "Table 3: time per image, in milliseconds",
    [Column(part, ("times_ms_per_image", part), better=-1, by_seed=False) for part in TIMED_PARTS],
)
COUNT_TABLE = Table(
    "Number of labels: error per image at the default operating point",
    [
        Column("mean absolute error", ("default", "label_count_error"), better=-1),
        Column("bias (above 0: too many)", ("default", "label_count_bias"), better=0),
        Column("exact match, percent", ("default", "exact_match")),
    ],
)
SIZE_TABLE = Table(
    "Order by the number of true labels of an image, in percent",
    [
        Column(f"{title}, {size}", (BY_SIZE, size, name), better=0, by_construction=mark)
        for name, title, mark in (
            ("duplicates", "duplicates", "no_repeat"),
            ("rigidness", "rigidness", ""),
            ("rigidness_random", "random orders", ""),
        )
        for size in SIZES
    ],
)
ALL_TABLES = (
    Table(
        "Table 1: order of the emitted labels, in percent",
        [
            Column("duplicates", ("default", "duplicates"), better=-1, by_construction="no_repeat"),
            Column("rigidness", ("default", "rigidness"), better=0),
            Column("rigidness of random orders", ("default", "rigidness_random"), better=0),
        ],
    ),
    Table(
        "Table 2: scores at the default operating point, in percent, and cost of an image",
        [*score_columns("default"), *COST_COLUMNS],
        point="default",
    ),
    *(
        Table(
            f"Table 2 at the operating point chosen for {title} on held-out training images",
            score_columns("tuned", score, "metrics"),
            point=f"chosen for {title} on held-out images",
            parameter=("tuned", score, "value"),
        )
        for score, title in (("CF1", "C-F1"), ("OF1", "O-F1"))
    ),
    TIME_TABLE,
    COUNT_TABLE,
    Table(
        "Kinds of score (largest over the steps, at the first emission, beam marginals, the "
        "decoder's own): mAP, and F1 of the labels above a threshold chosen on held-out images, in "
        "percent",
        [column for kind, title in KINDS.items() for column in kind_columns(kind, title)],
    ),
    SIZE_TABLE,
)


def values_of(by_seed: Mapping[int, Result], column: Column) -> dict[int, float]:
    """Return a method's values by seed, for the seeds that have one.

    If the column does not differ by seed, the only key is `SEED_INDEPENDENT`.
    """
    found = {seed: value_at(result, column.keys) for seed, result in by_seed.items()}
    values = {seed: value for seed, value in found.items() if value is not None}
    if column.by_seed or not values:
        return values
    return {SEED_INDEPENDENT: next(iter(values.values()))}


def with_deviation(values: Sequence[float], digits: int, sign: str = "") -> str:
    """Format mean ± sample standard deviation; one value has no deviation, none gives "".

    Negative numbers have a typographic minus sign.
    """
    if not values:
        return ""
    mean, deviation = mean_and_deviation(values)
    mean = round(mean, digits) or 0.0  # not −0.00
    text = with_minus(f"{mean:{sign}.{digits}f}")
    return text if deviation is None else f"{text} ± {deviation:.{digits}f}"


def with_minus(number: str) -> str:
    """Return a number with a typographic minus sign."""
    return number.replace("-", "\N{MINUS SIGN}")
