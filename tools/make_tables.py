"""Generate the tables and records of results from configs/*/{metafile.yml,runs.csv}.

    python tools/make_tables.py

For developers; run it after changing one of these files. It writes

- the tables of `configs/*/README.md`, each between `<!-- begin table: NAME -->` and
  `<!-- end table -->`: the models of that folder's metafile with `Table: NAME`, one row each, and
  the methods of `runs.csv`, which a comparison writes, with means ± sample standard deviations over
  the seeds for the names of `RUN_TABLES`;
- the line `Paper: … Here: …` in the docstring of each config that a model is named after.

In a metafile, `Results` were measured with this repository, and `Paper` are the paper's numbers.
Percent throughout. A test checks that what is committed is what this generates.
"""

import argparse
import csv
import re
from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml

from mmorderless.comparison.plan import METHODS
from mmorderless.figures.style import title_of

ROOT = Path(__file__).resolve().parents[1]
TABLE = re.compile(r"(<!-- begin table: (\w+) -->\n).*?(<!-- end table -->)", re.DOTALL)
RECORD = re.compile(r"^Paper: .*$", re.MULTILINE)
MAIN = ("C-F1", "O-F1", "F1", "accuracy", "duplicates", "time")

SCORES = {
    "C-F1": "default.CF1",
    "O-F1": "default.OF1",
    "exact match": "default.exact_match",
    "mAP": "default.mAP",
    "C-F1, chosen": "tuned.CF1.metrics.CF1",
    "O-F1, chosen": "tuned.OF1.metrics.OF1",
}
ORDER = {"duplicates": "default.duplicates", "rigidness": "default.rigidness"}
TIMES = {"training, ms": "times_ms_per_image.training", "test, ms": "times_ms_per_image.test"}
KINDS = {
    f"{title}, `{kind}`": column.format(kind)
    for title, column in (
        ("mAP", "mAP_by_score.{}"),
        ("O-F1", "threshold_by_score.{}.OF1.metrics.OF1"),
    )
    for kind in ("max", "first", "beam")
}
RUN_TABLES = {
    "runs": {**SCORES, **ORDER},
    "runs_with_times": {**SCORES, **ORDER, **TIMES},
    "kinds_of_score": KINDS,
}
"""Columns of `runs.csv` by table and title. The best mean is bold in columns of `SCORES`."""

Model = dict[str, Any]


def read_models(metafile: Path) -> list[Model]:
    """Read the models of a metafile; each gets its collection's Metadata where it has none."""
    content = yaml.safe_load(metafile.read_text(encoding="utf-8"))
    shared = {item["Name"]: item["Metadata"] for item in content["Collections"]}
    for model in content["Models"]:
        model["Metadata"] = shared[model["In Collection"]] | model.get("Metadata", {})
    return content["Models"]


def measured(model: Model) -> dict[str, Any]:
    """Return the metrics that were measured with this repository, empty where nothing was run."""
    return {k: v for result in model.get("Results", []) for k, v in result["Metrics"].items()}


def cell(value: Any) -> str:
    """Format a number of a table, with a dash for one that is missing."""
    return "–" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)


def summary(metrics: dict[str, Any]) -> str:
    """Write the main metrics as a list, all where there is none of them."""
    names = [name for name in MAIN if name in metrics] or metrics
    return ", ".join(f"{name} {cell(metrics[name])}" for name in names)


def here(model: Model) -> str:
    """Say what was measured with this repository and how, or that nothing was."""
    note, metrics = model["Metadata"]["Measured Here"], measured(model)
    return f"{summary(metrics)} ({note})" if metrics else note


def record(model: Model) -> str:
    """Write the line of a config's docstring that says what to expect."""
    numbers, source = (model["Metadata"].get(key) for key in ("Paper", "Paper Source"))
    paper = f"{summary(numbers)} ({source})" if numbers else "no number"
    return f"Paper: {paper}. Here: {here(model)}."


def table(models: list[Model]) -> str:
    """Lay out models as a Markdown table: the paper's numbers if it has any, else those measured.

    Args:
        models: those of the table, in the order of its rows. Columns without an entry are left out.
    """
    of_paper = [model["Metadata"].get("Paper", {}) for model in models]
    numbers = of_paper if any(of_paper) else [measured(model) for model in models]
    names = list(dict.fromkeys(n for row in sorted(numbers, key=len, reverse=True) for n in row))
    sources = [model["Metadata"].get("Paper Source", "Table") for model in models]
    source = "in the paper" if all("Table" in name for name in sources) else "source"
    rows = [["config", "options", source, *names, "here"]]
    for model, row in zip(models, numbers):
        file, metadata = Path(model["Config"]), model["Metadata"]
        options = f"`{metadata['Options']}`" if "Options" in metadata else ""
        text = [f"[{file.stem}]({file.name})", options, metadata.get("Paper Source", "")]
        shown = here(model) if any(of_paper) or not names else ""
        rows.append([*text, *(cell(row.get(name)) for name in names), shown])
    kept = [k for k in range(len(rows[0])) if any(row[k] for row in rows[1:])]
    rows.insert(1, ["---:" if name in names else "---" for name in rows[0]])
    return "".join(f"| {' | '.join(row[k] for k in kept)} |\n" for row in rows)


def run_table(file: Path, columns: Mapping[str, str]) -> str:
    """Lay out a comparison's runs as a Markdown table, a row for each method with a value."""
    by_method: dict[str, list[dict[str, str]]] = {}
    with file.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            by_method.setdefault(row["method"], []).append(row)
    known = [method for method in METHODS if method in by_method]
    values = {
        method: {
            title: [float(row[key]) for row in by_method[method] if row.get(key)]
            for title, key in columns.items()
        }
        for method in [*known, *sorted(by_method.keys() - METHODS)]
    }
    shown = [title for title in columns if any(row[title] for row in values.values())]
    best = {
        title: max(round(mean(row[title]), 2) for row in values.values() if row[title])
        for title in shown
        if title in SCORES
    }
    lines = [["", "seeds", *shown], ["---", *["---:"] * (len(shown) + 1)]]
    for method, row in values.items():
        if any(row[title] for title in shown):
            cells = [mean_cell(row[title], best.get(title)) for title in shown]
            lines.append([title_of(method), str(len(by_method[method])), *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def mean_cell(values: list[float], best: float | None) -> str:
    """Write a mean ± sample standard deviation, in bold if it is the best of its column."""
    if not values:
        return "–"
    text = f"{mean(values):.2f}"
    if best is not None and round(mean(values), 2) == best:
        text = f"**{text}**"
    return f"{text} ± {stdev(values):.2f}" if len(set(values)) > 1 else text


def generate(root: Path = ROOT) -> dict[Path, str]:
    """Return the text that each README and each config should have.

    Raises:
        KeyError: a README asks for a table that its metafile has no model for.
        ValueError: a README lacks the markers of a table, or a config the line of its record.
    """
    texts: dict[Path, str] = {}
    for metafile in sorted(root.glob("configs/*/metafile.yml")):
        tables: dict[str, list[Model]] = {}
        for model in read_models(metafile):
            if "Table" in model["Metadata"]:
                tables.setdefault(model["Metadata"]["Table"], []).append(model)
            config = root / model["Config"]
            if config.stem == model["Name"]:
                texts[config], found = RECORD.subn(record(model), config.read_text("utf-8"))
                if found != 1:
                    raise ValueError(f"{config} needs one line 'Paper: …' in its docstring")
        readme = metafile.with_name("README.md")
        text = readme.read_text(encoding="utf-8")
        if missing := set(tables) - {name for _, name, _ in TABLE.findall(text)}:
            raise ValueError(f"{readme} needs the markers of: {', '.join(sorted(missing))}")
        laid_out = {name: table(models) for name, models in tables.items()}
        if (runs := metafile.with_name("runs.csv")).is_file():
            laid_out |= {name: run_table(runs, columns) for name, columns in RUN_TABLES.items()}
        texts[readme] = TABLE.sub(lambda m, of=laid_out: m[1] + of[m[2]] + m[3], text)
    return texts


if __name__ == "__main__":
    argparse.ArgumentParser(description="Generate the tables of the configs' READMEs.").parse_args()
    for path, text in generate().items():
        if path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
