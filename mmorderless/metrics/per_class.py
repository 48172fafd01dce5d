"""Scores of each class with its name: as records for JSON and as a table for the log."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmorderless.labels.label_lists import Matrix
from mmorderless.metrics.ranking import average_precisions
from mmorderless.metrics.set_scores import scores_of_classes


def class_records(
    classes: Iterable[Any],
    predicted: Matrix,
    truth: Matrix,
    scores: Matrix | None = None,
    ignored: Matrix | None = None,
) -> list[dict[str, Any]]:
    """Score each class.

    A list, not a mapping by name, so that classes of equal names stay apart.

    Args:
        classes: names, C values.
        predicted: boolean, shape (N, C).
        truth: boolean, shape (N, C).
        scores: score of each class, shape (N, C); without it there is no AP.
        ignored: labels not judged, left out of AP, boolean, shape (N, C).

    Returns:
        Per class `class`, `precision`, `recall`, `F1` and `AP` in percent, and `support`, the
        number of images that have the class. Precision is 0 for a class that is never predicted;
        without a positive recall and F1 are 0 and AP is NaN.

    >>> import numpy as np
    >>> class_records(["ant"], np.array([[True], [True]]), np.array([[True], [False]]))
    [{'class': 'ant', 'precision': 50.0, 'recall': 100.0, 'F1': 66.66666666666667, 'support': 1}]
    """
    columns = scores_of_classes(predicted, truth)
    support = columns.pop("support")
    if scores is not None:
        columns["AP"] = average_precisions(scores, truth, ignored)
    columns["support"] = support
    rows = zip(*(column.tolist() for column in columns.values()))
    return [{"class": str(name), **dict(zip(columns, row))} for name, row in zip(classes, rows)]


def class_table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the records of `class_records` as lines of text.

    Names come last, since their width on a screen is not known, and in JSON's form, so that
    none breaks a line.
    """
    columns = [name for name in records[0] if name != "class"]
    lines = [" ".join(f"{name:>9}" for name in columns) + "  class"]
    for record in records:
        cells = [f"{record[name]:9.{0 if name == 'support' else 2}f}" for name in columns]
        lines.append(" ".join(cells) + "  " + json.dumps(record["class"], ensure_ascii=False))
    return "\n".join(lines)
