"""Write a comparison as one self-contained HTML file: tables, figures and a gallery of photos."""

import io
import re
import shlex
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from PIL import Image

from mmorderless.comparison.report.figures import all_figures
from mmorderless.comparison.report.filled_tables import fill_tables
from mmorderless.comparison.report.gallery_page import fill_gallery
from mmorderless.comparison.report.rendering import render
from mmorderless.comparison.report.results import (
    REFERENCE,
    Comparison,
    caveats,
)
from mmorderless.figures.style import title_of
from mmorderless.inference.pictures import distinct_stems
from mmorderless.runs.files import replacing, write_text
from mmorderless.runs.machine import describe_machine

# Dots per inch of the pictures, and of their size on the page.
FIGURE_DPI, PAGE_DPI = 144, 96
CAPTIONS = {
    "loss_curves": "Training loss of the sequence models: mean and range over the seeds.",
    "loss_curves_independent": "Training loss of the methods that predict labels independently.",
    "label_count": "Error of the number of predicted labels per image, for each method's first "
    "seed.",
    "operating_curve": "Precision against recall as each method's operating parameter varies, on "
    "held-out images, for its first seed.",
    "cooccurrence_difference": "Co-occurrence of labels: prediction minus ground truth. Red pairs "
    "are predicted together too often, blue ones too rarely. For each method's first seed.",
}
GROUP_PREFIX, STEP_PREFIX = "cooccurrence_difference_", "label_at_step_"


class Picture(NamedTuple):
    """A rendered figure: a PNG file, and its size on the page in pixels."""

    png: bytes
    width: int
    height: int


def write_page(comparison: Comparison) -> Path:
    """Write `report/figures/*.png` and `report/report.html`, which needs no other file.

    Returns:
        The page's path.
    """
    figures = all_figures(
        {method: list(by_seed.values()) for method, by_seed in comparison.results.items()},
        comparison.predictions,
        comparison.groups,
    )
    pictures = {name: render_figure(figure) for name, figure in figures.items()}
    page = render(
        "report.html",
        heading=f"Comparison of {len(comparison.results)} methods",
        dataset=Path(str(comparison.config["dataset"])).stem,
        facts=facts_of(comparison),
        command=command_line(comparison.config),
        reading=reading_note(comparison),
        tables=fill_tables(comparison),
        show_differences=REFERENCE in comparison.results and len(comparison.results) > 1,
        figures=figure_elements(pictures),
        gallery=fill_gallery(comparison),
    )
    folder = comparison.folder / "report"
    for stem, picture in zip(file_stems(pictures), pictures.values(), strict=True):
        with replacing(folder / "figures" / f"{stem}.png") as unfinished:
            unfinished.write_bytes(picture.png)
    write_text(folder / "report.html", page)
    return folder / "report.html"


def file_stems(names: Iterable[str]) -> list[str]:
    """Return distinct file names for figures; names of groups may hold any character."""
    return distinct_stems([re.sub(r"[^\w-]+", "_", name)[:60] for name in names])  # ≤ 240 bytes


def facts_of(comparison: Comparison) -> dict[str, str]:
    """Return the setup of the comparison as terms and descriptions."""
    config, results = comparison.config, comparison.results
    seeds = sorted({seed for by_seed in results.values() for seed in by_seed})
    dataset = str(config["dataset"])
    if comparison.predictions:
        arrays = next(iter(comparison.predictions.values()))
        images, classes = len(arrays["truth_length"]), len(arrays["classes"])
        dataset += f" ({images:,} test images, {classes:,} classes)"
    return {
        "Dataset": dataset,
        "Methods": f"{len(results)}: {'; '.join(map(title_of, results))}",
        "Seeds": ", ".join(map(str, seeds)),
        "Epochs": str(config["settings"]["train_cfg"].get("max_epochs", "–")),
        "Written": f"{date.today()} on {machine_line()}",
    }


def command_line(config: Mapping[str, Any]) -> str:
    """Return the command that repeats the comparison."""
    options = config["options"]
    words = ["python", "tools/compare.py", config["dataset"], "--methods", *config["methods"]]
    words += ["--seeds", *map(str, config["seeds"]), "--val-split", str(options["val_split"])]
    if options["epochs"]:
        words += ["--epochs", str(options["epochs"])]
    if options["cfg_options"]:
        words += ["--cfg-options", *(f"{key}={v}" for key, v in options["cfg_options"].items())]
    for method, own in options.get("method_options", {}).items():
        words += ["--method-options", method, *(f"{key}={v}" for key, v in own.items())]
    return shlex.join(words)


def machine_line() -> str:
    """Return the machine that writes the report, usually that of the runs."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = describe_machine(device, "float32")
    versions = machine["versions"]
    return (
        f"{machine['device_name']}, {machine['cores']} cores; mmorderless "
        f"{versions['mmorderless']}, torch {versions['torch']}, Python {versions['python']}"
    )


def reading_note(comparison: Comparison) -> str:
    """Return how to read the tables, and which runs are missing."""
    config, results = comparison.config, comparison.results
    finished = sum(len(by_seed) for by_seed in results.values())
    planned = len(config["methods"]) * len(config["seeds"])
    note = (
        "Mean ± sample standard deviation over the seeds; the best mean of a column is marked. "
        "Hover over a number or tap it to see the value of each seed; click a column's title to "
        "sort."
    )
    if REFERENCE in results and len(results) > 1:
        note += f" In small print: the difference to {title_of(REFERENCE)}, paired by seed."
    if finished < planned:
        note += f" {finished} of {planned} runs are finished; the others are left out."
    return " ".join([note, *caveats(comparison)])


def figure_elements(pictures: Mapping[str, Picture]) -> list[dict[str, Any]]:
    """Return the figures with their captions; those of single methods or groups are grouped."""
    elements = []
    for i, (name, picture) in enumerate(pictures.items(), start=1):
        group = ""
        if name.startswith(STEP_PREFIX):
            method = title_of(name.removeprefix(STEP_PREFIX))
            caption = f"{method}: share of each label at each step, first seed."
            group = "Labels at each step, by method"
        elif name.startswith(GROUP_PREFIX):
            classes = name.removeprefix(GROUP_PREFIX)
            caption = f"Co-occurrence difference within the group {classes}, first seeds."
            group = "Co-occurrence by group of classes"
        else:
            caption = CAPTIONS[name]
        source = "data:image/png;base64," + b64encode(picture.png).decode()
        size = {"width": picture.width, "height": picture.height}
        elements.append(
            {"name": f"Figure {i}", "caption": caption, "group": group, "source": source, **size}
        )
    return elements


def render_figure(figure: Figure) -> Picture:
    """Render a figure with 256 colors, which needs half the bytes of an SVG."""
    drawn, reduced = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=FIGURE_DPI)
    Image.open(drawn).convert("RGB").quantize(256).save(reduced, "PNG", optimize=True)
    width, height = (round(PAGE_DPI * inches) for inches in figure.get_size_inches())
    return Picture(reduced.getvalue(), width, height)
