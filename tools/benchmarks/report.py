"""Measurements as rows of a Markdown table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

COLUMNS = ("what", "setting", "ours", "baseline", "speed-up", "target")


@dataclass(frozen=True)
class Row:
    """One measured quantity.

    Args:
        what: name of the quantity.
        setting: sizes and other conditions, by letter or name.
        unit: of the samples. Of rates (units that end in /s) more is better, else less.
        ours: samples; empty if the quantity could not be measured.
        baseline: samples of what `ours` is compared with.
        at_least: target of the speed-up.
        at_most: target of the median of `ours`.
    """

    what: str
    setting: Mapping[str, Any]
    unit: str
    ours: Sequence[float]
    baseline: Sequence[float] = ()
    at_least: float | None = None
    at_most: float | None = None

    @property
    def speed_up(self) -> float | None:
        """Ratio of the medians: ours / baseline for rates, else baseline / ours."""
        if len(self.ours) == 0 or len(self.baseline) == 0:
            return None
        ratio = float(np.median(self.baseline) / np.median(self.ours))
        return 1 / ratio if self.unit.endswith("/s") else ratio

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a target or a measurement."""
        if self.at_least is not None and self.speed_up is not None:
            return self.speed_up >= self.at_least
        if self.at_most is not None and len(self.ours):
            return bool(np.median(self.ours) <= self.at_most)
        return None

    def cells(self) -> list[str]:
        """Return the row's columns."""
        target = "–"
        if self.at_least is not None:
            target = f"≥ {self.at_least:.3g}×"
        if self.at_most is not None:
            target = f"≤ {self.at_most:g} {self.unit}"
        return [
            self.what,
            ", ".join(f"{name} = {value}" for name, value in self.setting.items()),
            _spread(self.ours, self.unit),
            _spread(self.baseline, self.unit),
            "–" if self.speed_up is None else f"{self.speed_up:.3g}×",
            target + {None: "", True: ", met", False: ", missed"}[self.met],
        ]

    def record(self) -> dict[str, Any]:
        """Return the row as plain values, with all samples."""
        samples = {"ours": _summary(self.ours), "baseline": _summary(self.baseline)}
        return {**asdict(self), **samples, "speed_up": self.speed_up, "met": self.met}


def table(rows: Sequence[Row]) -> str:
    """Return rows as a Markdown table."""
    lines = [list(COLUMNS), ["---"] * len(COLUMNS), *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _summary(samples: Sequence[float]) -> dict[str, Any] | None:
    if len(samples) == 0:
        return None
    low, middle, high = np.percentile(samples, [25, 50, 75]).tolist()
    return {"median": middle, "spread": high - low, "samples": [float(x) for x in samples]}


def _spread(samples: Sequence[float], unit: str) -> str:
    """Median ± interquartile range, to three digits."""
    if len(samples) == 0:
        return "–"
    low, middle, high = np.percentile(samples, [25, 50, 75])
    spread = f" ± {_digits(high - low)}" if len(samples) > 1 else ""
    return f"{_digits(middle)}{spread} {unit}"


def _digits(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"
