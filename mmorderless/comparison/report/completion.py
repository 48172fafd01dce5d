"""Tables and a figure of how the runs of a comparison complete label sets."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from mmorderless.comparison.evaluation.completion import (
    GIVEN,
    SHARES,
    STRUCK,
    Settings,
    read_completion,
)
from mmorderless.comparison.plan import Run
from mmorderless.comparison.report.results import mean_and_deviation
from mmorderless.comparison.report.tables import with_deviation
from mmorderless.figures.method_curves import Panel, panels_figure
from mmorderless.figures.style import figure_to_rgb, title_of
from mmorderless.runs.files import write_png, write_text
from mmorderless.runs.records import write_json

NAME = "completion"


class Quantity(NamedTuple):
    """A metric of a protocol, and how it is named."""

    name: str
    protocol: str
    metric: str
    title: str
    known: str


QUANTITIES = (
    Quantity("OF1", GIVEN, "OF1", "O-F1 of the labels not given", "labels given"),
    Quantity("mAP", GIVEN, "mAP", "mAP of the labels not given", "labels given"),
    Quantity("OF1_struck", STRUCK, "OF1", "O-F1, wrong labels struck out", "labels given"),
    Quantity("mAP_struck", STRUCK, "mAP", "mAP, wrong labels struck out", "labels given"),
    Quantity("mAP_shares", SHARES, "mAP", "mAP of the other classes", "% of all classes known"),
)

Completions = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Content of `completion.json` by method and seed."""


def values_of(
    completions: Completions, quantity: Quantity
) -> dict[str, dict[str, dict[int, float]]]:
    """Return a metric by method, number or share known (as text), and seed."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for method, by_seed in completions.items():
        for seed, result in by_seed.items():
            for known, metrics in result[quantity.protocol].items():
                if metrics[quantity.metric] is not None:
                    by_known = found.setdefault(method, {}).setdefault(known, {})
                    by_known[seed] = metrics[quantity.metric]
    return found


def write_completion(folder: Path, runs: Sequence[Run], settings: Settings) -> list[Path]:
    """Write `report/completion.json`, `.md` and `.png` of the runs that are evaluated.

    Raises:
        ValueError: no run is.
    """
    completions: dict[str, dict[int, dict[str, Any]]] = {}
    for run in runs:
        result = read_completion(run.folder, settings)
        if result is not None:
            completions.setdefault(run.method, {})[run.seed] = result
    if not completions:
        raise ValueError(f"no run in {folder} has a completion; see the errors of the runs")
    files = [folder / "report" / f"{NAME}.{kind}" for kind in ("json", "md", "png")]
    write_json(files[0], summary(completions, settings))
    write_text(files[1], tables(completions, settings))
    write_png(files[2], figure_to_rgb(panels_figure(panels(completions))))
    return files


def summary(completions: Completions, settings: Settings) -> dict[str, Any]:
    """Return the settings and, by quantity, method and what is known, mean, deviation, values."""
    quantities: dict[str, Any] = {}
    for quantity in QUANTITIES:
        quantities[quantity.name] = {
            method: {
                known: dict(
                    zip(("mean", "sd"), mean_and_deviation(list(values.values()))), values=values
                )
                for known, values in by_known.items()
            }
            for method, by_known in values_of(completions, quantity).items()
        }
    return {"settings": asdict(settings), **quantities}


def tables(completions: Completions, settings: Settings) -> str:
    """Return the tables as Markdown: mean ± sample standard deviation over the seeds."""
    first = next(iter(next(iter(completions.values())).values()))
    masked = [
        title_of(method)
        for method, by_seed in completions.items()
        if not any(result["takes_known_labels"] for result in by_seed.values())
    ]
    point = "the default operating point"
    if settings.chosen:
        point = "the operating point that is best in O-F1 on held-out images without known labels"
    lines = [
        "# Completion of label sets",
        "",
        f"Of {first['num_images']} test images {first['num_completed']} have at least "
        f"{settings.min_labels} labels; of these k are given, drawn at random with seed "
        f"{settings.seed}, the same for all methods. Metrics, in percent, leave out what is known, "
        "so that columns differ in what they score: compare the methods within a column. Label "
        f"sets are those of {point}. Struck out: the wrong labels of a method's "
        "own prediction without known labels are excluded. C-Tran's protocol: the states of a "
        "share of all classes are known, in all test images.",
        "",
        "Methods whose predictions of the other classes do not depend on what is known: "
        f"{', '.join(masked) or 'none'}.",
    ]
    for quantity in QUANTITIES:
        found = values_of(completions, quantity)
        numbers = [
            str(n) for n in getattr(settings, SHARES if quantity.protocol == SHARES else GIVEN)
        ]
        lines += [
            "",
            f"## {quantity.title}, by {quantity.known}",
            "",
            f"| method | {' | '.join(numbers)} |",
            f"| --- |{' ---: |' * len(numbers)}",
        ]
        for method in completions:
            cells = [
                with_deviation(list(found.get(method, {}).get(n, {}).values()), 1) or "–"
                for n in numbers
            ]
            lines.append(f"| {title_of(method)} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def panels(completions: Completions) -> list[Panel]:
    """Return a panel of each quantity."""
    return [
        Panel(
            quantity.title,
            quantity.known,
            {
                method: [
                    (float(known), *mean_and_deviation(list(values.values())))
                    for known, values in by_known.items()
                ]
                for method, by_known in values_of(completions, quantity).items()
            },
        )
        for quantity in QUANTITIES
    ]
