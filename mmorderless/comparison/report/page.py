"""A comparison as one self-contained HTML file: tables, figures and a gallery of photos.

The page's layout, style and script are in report.html; this file fills its {{places}}.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import warnings
from base64 import b64encode
from collections.abc import Iterable, Mapping
from datetime import date
from html import escape
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from PIL import Image

from mmorderless.comparison.evaluation.gallery import GALLERY_SIZE
from mmorderless.comparison.report.figures import all_figures
from mmorderless.comparison.report.gallery_page import gallery_parts
from mmorderless.comparison.report.html_tables import tables_part
from mmorderless.comparison.report.results import (
    REFERENCE,
    Comparison,
    Result,
    caveats,
    read_results,
    timing_note,
)
from mmorderless.comparison.report.tables import PRIOR
from mmorderless.figures.style import title_of
from mmorderless.runs.machine import describe_machine
from mmorderless.runs.records import read_json

TEMPLATE = Path(__file__).with_name("report.html")
# Dots per inch of the pictures in the file, and of their size on the page.
FIGURE_DPI, PAGE_DPI = 144, 96
CAPTIONS = {
    "loss_curves": "Training loss of the sequence models: mean of the seeds, and their range.",
    "loss_curves_independent": "Training loss of the methods that predict labels independently.",
    "rigidness": "Order-rigidness of each method, beside what random orders would have.",
    "label_count": "By how many labels the predicted sets are too small or too large, of each "
    "method's first seed.",
    "operating_curve": "Precision against recall along each method's dial, on held-out images, of "
    "its first seed.",
    "score_comparison": "mAP by the score that ranks the images.",
    "cooccurrence_difference": "Co-occurrence of labels: prediction minus ground truth. Red pairs "
    "are predicted together too often, blue ones too rarely. Of each method's first seed.",
}
GROUP_PREFIX, STEP_PREFIX = "cooccurrence_difference_", "label_at_step_"


class Picture(NamedTuple):
    """A rendered figure: a PNG file, and its size on the page in pixels."""

    png: bytes
    width: int
    height: int


def write_report(comparison_dir: Path, gallery_size: int = GALLERY_SIZE) -> Path:
    """Write `report/report.html` and `report/figures/*.png` from the runs that are finished.

    Args:
        comparison_dir: the work dir of a comparison.
        gallery_size: how many test photos to show, of which up to `GALLERY_SIZE` have attention.

    Returns:
        The page, which needs no other file.

    Raises:
        FileNotFoundError: the folder holds no comparison.
        ValueError: no run is finished, or gallery_size is below 1.
    """
    comparison = read_results(comparison_dir)
    figures = all_figures(
        {method: list(by_seed.values()) for method, by_seed in comparison.results.items()},
        comparison.predictions,
        comparison.groups,
    )
    pictures = {name: render(figure) for name, figure in figures.items()}
    prior = read_json(comparison_dir / PRIOR)
    page = report_page(comparison, prior, pictures, gallery_size)
    folder = comparison_dir / "report"
    (folder / "figures").mkdir(parents=True, exist_ok=True)
    for stem, picture in zip(file_stems(pictures), pictures.values(), strict=True):
        (folder / "figures" / f"{stem}.png").write_bytes(picture.png)
    # A file name may hold bytes that are no text: they are shown as "?".
    (folder / "report.html").write_text(page, encoding="utf-8", errors="replace")
    return folder / "report.html"


def file_stems(names: Iterable[str]) -> list[str]:
    """Return names that any file system takes and holds apart, for figures of any group's name."""
    stems: list[str] = []
    taken: set[str] = set()
    for name in names:
        plain = re.sub(r"[^\w-]+", "_", name)[:60]  # at most 240 bytes
        numbers = (plain if i == 1 else f"{plain}_{i}" for i in count(1))
        stems.append(next(stem for stem in numbers if stem.casefold() not in taken))
        taken.add(stems[-1].casefold())
    return stems


def report_page(
    comparison: Comparison,
    prior: Result | None,
    pictures: Mapping[str, Picture],
    gallery_size: int,
) -> str:
    """Return the whole page.

    Args:
        comparison: what to report on.
        prior: the label prior's scores, if known.
        pictures: the figures, by the names of `all_figures`.
        gallery_size: how many test photos to show.
    """
    gallery, data = gallery_parts(comparison, gallery_size)
    heading = f"Comparison of {len(comparison.results)} methods"
    name = Path(str(comparison.config["dataset"])).stem
    parts = {
        "title": escape(f"{heading}: {name}"),
        "heading": heading,
        "facts": facts_list(comparison),
        "reading": escape(reading_note(comparison)),
        "tables": tables_part(comparison.results, prior, timing_note(comparison.timings)),
        "figures": figures_part(pictures),
        "gallery": gallery,
        "data": json_for_script(data),
    }
    # In one pass, so that a class called "{{data}}" is not filled in.
    return re.sub(
        r"\{\{(\w+)\}\}", lambda place: parts[place[1]], TEMPLATE.read_text(encoding="utf-8")
    )


def facts_list(comparison: Comparison) -> str:
    """The header's terms and descriptions: what was compared, and how."""
    config, results = comparison.config, comparison.results
    seeds = sorted({seed for by_seed in results.values() for seed in by_seed})
    epochs = config["options"]["epochs"] or config["settings"]["train_cfg"].get("max_epochs", "–")
    facts = {
        "Dataset": str(config["dataset"]),
        "Methods": f"{len(results)}: {'; '.join(map(title_of, results))}",
        "Seeds": ", ".join(map(str, seeds)),
        "Epochs": str(epochs),
        "Written": f"{date.today()} on {machine_line()}",
        "Command": command_line(config),
    }
    if comparison.predictions:
        arrays = next(iter(comparison.predictions.values()))
        images, classes = len(arrays["truth_length"]), len(arrays["classes"])
        facts["Dataset"] += f" ({images:,} test images, {classes:,} classes)"
    lines = {name: escape(value) for name, value in facts.items()}
    lines["Command"] = f"<code>{lines['Command']}</code>"
    return "\n".join(f"<dt>{name}</dt><dd>{text}</dd>" for name, text in lines.items())


def command_line(config: Mapping[str, Any]) -> str:
    """The command that makes the comparison again."""
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
    """What the report is written on, as a rule the machine of its runs."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = describe_machine(device, "float32")
    versions = machine["versions"]
    return (
        f"{machine['device_name']}, {machine['cores']} cores; mmorderless "
        f"{versions['mmorderless']}, torch {versions['torch']}, Python {versions['python']}"
    )


def reading_note(comparison: Comparison) -> str:
    """How to read the tables, and what is not in them."""
    config, results = comparison.config, comparison.results
    finished = sum(len(by_seed) for by_seed in results.values())
    planned = len(config["methods"]) * len(config["seeds"])
    note = (
        "Mean ± sample standard deviation over the seeds; the best mean of a column is marked. "
        "Point at a number, or tap it, for the values of each seed; a column's title sorts."
    )
    if REFERENCE in results and len(results) > 1:
        note += f" Small print: difference to {title_of(REFERENCE)}, paired by seed."
    if finished < planned:
        note += f" {finished} of {planned} runs are finished; the others are left out."
    return " ".join([note, *caveats(comparison)])


def figures_part(pictures: Mapping[str, Picture]) -> str:
    """All figures with their captions, those of single methods or groups folded away."""
    shown: list[str] = []
    of_groups: list[str] = []
    of_methods: list[str] = []
    for i, (name, picture) in enumerate(pictures.items(), start=1):
        if name.startswith(STEP_PREFIX):
            method = title_of(name.removeprefix(STEP_PREFIX))
            caption, place = f"{method}: share of each label at each step, first seed.", of_methods
        elif name.startswith(GROUP_PREFIX):
            group = name.removeprefix(GROUP_PREFIX)
            caption, place = (
                f"Co-occurrence difference within the group {group}, first seeds.",
                of_groups,
            )
        else:
            caption, place = CAPTIONS[name], shown
        place.append(figure_element(picture, f"Figure {i}", caption))
    folded = {
        "Co-occurrence by group of classes": of_groups,
        "Labels at each step, by method": of_methods,
    }
    shown += [
        f"<details><summary>{title} ({len(elements)} figures)</summary>\n"
        + "\n".join(elements)
        + "</details>"
        for title, elements in folded.items()
        if elements
    ]
    return "\n".join(shown) or '<p class="note">There are no curves or predictions to draw.</p>'


def figure_element(picture: Picture, name: str, caption: str) -> str:
    """A figure that a click enlarges."""
    source = "data:image/png;base64," + b64encode(picture.png).decode()
    return (
        f'<figure><button type="button" class="zoom" aria-label="Enlarge {name}: '
        f'{escape(caption)}"><img src="{source}" width="{picture.width}" '
        f'height="{picture.height}" alt="{escape(caption)}" decoding="async"></button>'
        f"<figcaption><strong>{name}.</strong> {escape(caption)}</figcaption></figure>"
    )


def render(figure: Figure) -> Picture:
    """Render a figure with 256 colours, which takes half the bytes of an SVG."""
    drawn, reduced = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        # Names in a script that the font lacks are boxes here; the rest of the page has them.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(drawn, format="png", dpi=FIGURE_DPI)
    Image.open(drawn).convert("RGB").quantize(256).save(reduced, "PNG", optimize=True)
    width, height = (round(PAGE_DPI * inches) for inches in figure.get_size_inches())
    return Picture(reduced.getvalue(), width, height)


def json_for_script(value: Any) -> str:
    """Return JSON that cannot end the script element it is in, nor begin a comment there."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
