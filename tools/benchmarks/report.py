"""Measurements as rows of a Markdown table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Optional

import numpy as np

COLUMNS = ("what", "setting", "ours", "reference", "ratio", "target")
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Target:
    """What the measurement should reach.

    Args:
        bound: the number.
        of: what it bounds: `gain`, how many times better ours is than the reference, from below;
            `cost`, ours over the reference, from above; `value`, ours itself, from above.
    """

    bound: float
    of: Literal["gain", "cost", "value"]


@dataclass(frozen=True)
class Row:
    """One measured quantity.

    Args:
        what: its name.
        setting: sizes and other conditions by their letter or name.
        unit: of the samples; of rates (those that end in /s) more is better, of others less.
        ours: samples; empty when it could not be measured, which `note` explains.
        reference: samples of what ours is compared with, if anything.
        target: what should be reached, if anything.
        note: what a reader has to know.
    """

    what: str
    setting: Mapping[str, Any]
    unit: str
    ours: Sequence[float]
    reference: Sequence[float] = ()
    target: Optional[Target] = None
    note: str = ""

    @property
    def ratio(self) -> Optional[float]:
        """Medians compared as the target asks, else how many times better ours is."""
        if len(self.ours) == 0 or len(self.reference) == 0:
            return None
        cost = float(np.median(self.ours) / np.median(self.reference))
        as_is = self.unit.endswith("/s") or (self.target is not None and self.target.of == "cost")
        return cost if as_is else 1 / cost

    @property
    def met(self) -> Optional[bool]:
        """Whether the target is reached; None without a target or a measurement."""
        if self.target is None or len(self.ours) == 0:
            return None
        if self.target.of == "value":
            return bool(np.median(self.ours) <= self.target.bound)
        assert self.ratio is not None, f"{self.what} has a target but no reference"
        if self.target.of == "gain":
            return self.ratio >= self.target.bound
        return self.ratio <= self.target.bound

    def cells(self) -> list[str]:
        """The columns of the table."""
        setting = ", ".join(f"{name} = {value}" for name, value in self.setting.items())
        ours = self.note or "–"
        if len(self.ours):
            ours = f"{_spread(self.ours)} {self.unit}" + (f" ({self.note})" if self.note else "")
        reference = f"{_spread(self.reference)} {self.unit}" if len(self.reference) else "–"
        ratio = "–" if self.ratio is None else f"{self.ratio:.3g}×"
        target = "–"
        if self.target is not None:
            sign = "≥" if self.target.of == "gain" else "≤"
            unit = f" {self.unit}" if self.target.of == "value" else "×"
            verdict = {None: "", True: ", met", False: ", missed"}[self.met]
            target = f"{sign} {self.target.bound:g}{unit}{verdict}"
        return [self.what, setting, ours, reference, ratio, target]

    def record(self) -> dict[str, Any]:
        """The row as plain values, with all samples."""
        return {
            "what": self.what,
            "setting": dict(self.setting),
            "unit": self.unit,
            "ours": _summary(self.ours),
            "reference": _summary(self.reference),
            "ratio": self.ratio,
            "target": None if self.target is None else vars(self.target),
            "met": self.met,
            "note": self.note,
        }


@dataclass
class Report:
    """All rows of a run, by part, and the machine."""

    machine: dict[str, Any]
    parts: dict[str, list[Row]] = field(default_factory=dict)

    def table(self, part: str) -> str:
        """A part's rows as a Markdown table."""
        lines = [list(COLUMNS), ["---"] * len(COLUMNS)]
        lines += [row.cells() for row in self.parts[part]]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def record(self) -> dict[str, Any]:
        """The report as plain values, ready for JSON."""
        parts = {name: [row.record() for row in rows] for name, rows in self.parts.items()}
        return {"version": SCHEMA_VERSION, "machine": self.machine, "parts": parts}


def _summary(samples: Sequence[float]) -> Optional[dict[str, Any]]:
    if len(samples) == 0:
        return None
    low, middle, high = np.percentile(samples, [25, 50, 75]).tolist()
    return {"median": middle, "spread": high - low, "samples": [float(x) for x in samples]}


def _spread(samples: Sequence[float]) -> str:
    """Median ± interquartile range, to three digits of the median."""
    low, middle, high = np.percentile(samples, [25, 50, 75])
    if len(samples) == 1:
        return _digits(middle)
    return f"{_digits(middle)} ± {_digits(high - low)}"


def _digits(number: float) -> str:
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.3g}"
