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
from collections.abc import Mapping, Sequence
from datetime import date
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from ..benchmarks.report import describe_machine
from .figures import all_figures, title_of
from .gallery import (
    GALLERY_SIZE,
    Photo,
    choose_gallery,
    embed_photo,
    gallery_data,
    prediction_record,
)
from .plan import read_json
from .report_tables import tables_part
from .results import REFERENCE, Comparison, Result, label_lists, read_results
from .tables import PRIOR

TEMPLATE = Path(__file__).with_name("report.html")
# Dots per inch of the pictures in the file, and of their size on the page.
FIGURE_DPI, PAGE_DPI = 160, 96
CAPTIONS = {
    "loss_curves": "Training loss of the sequence models: mean of the seeds, and their range.",
    "loss_curves_independent": "Training loss of the methods that predict labels independently.",
    "rigidness": "Order-rigidness of each method, beside what random orders would have.",
    "label_count": "By how many labels the predicted sets are too small or too large.",
    "operating_curve": "Precision against recall along each method's dial, on held-out images.",
    "score_comparison": "mAP by the score that ranks the images.",
    "cooccurrence_difference": "Co-occurrence of labels: prediction minus ground truth. Red pairs "
    "are predicted together too often, blue ones too rarely.",
}
GROUP_PREFIX, STEP_PREFIX = "cooccurrence_difference_", "label_at_step_"
KINDS = {
    "": "any",
    "missing": "a label is missing",
    "wrong": "a label is wrong",
    "right": "all labels are right",
    "repeated": "a label is repeated",
}


def write_report(comparison_dir: Path, gallery_size: int = GALLERY_SIZE) -> Path:
    """Write `comparison_dir/report/report.html` from the runs that are finished.

    Args:
        comparison_dir: the work dir of a comparison.
        gallery_size: how many test photos to show, of which up to `GALLERY_SIZE` have attention.

    Returns:
        The file.

    Raises:
        FileNotFoundError: the folder holds no comparison.
        ValueError: no run is finished, or gallery_size is below 1.
    """
    comparison = read_results(comparison_dir)
    written = {"Written": str(date.today()), "Machine": machine_line()}
    page = report_page(comparison, read_json(comparison_dir / PRIOR), written, gallery_size)
    path = comparison_dir / "report" / "report.html"
    path.parent.mkdir(parents=True, exist_ok=True)
    # A file name may hold bytes that are no text: they are shown as "?".
    path.write_text(page, encoding="utf-8", errors="replace")
    return path


def report_page(
    comparison: Comparison, prior: Result | None, written: Mapping[str, str], gallery_size: int
) -> str:
    """Return the whole page.

    Args:
        comparison: what to report on.
        prior: the label prior's scores, if known.
        written: what the header says of this report itself, by term.
        gallery_size: how many test photos to show.
    """
    results = comparison.results
    figures = all_figures(
        {method: list(by_seed.values()) for method, by_seed in results.items()},
        comparison.predictions,
    )
    gallery, data = gallery_parts(comparison, gallery_size)
    name = Path(str(comparison.config["dataset"])).stem
    parts = {
        "title": escape(f"Comparison of methods, {name}"),
        "facts": facts_list(comparison, written),
        "reading": escape(reading_note(comparison)),
        "tables": tables_part(results, prior),
        "figures": figures_part(figures),
        "gallery": gallery,
        "data": json_for_script(data),
    }
    # In one pass, so that a class called "{{data}}" is not filled in.
    return re.sub(
        r"\{\{(\w+)\}\}", lambda place: parts[place[1]], TEMPLATE.read_text(encoding="utf-8")
    )


def facts_list(comparison: Comparison, written: Mapping[str, str]) -> str:
    """The header's terms and descriptions: what was compared, and how."""
    config, results = comparison.config, comparison.results
    seeds = sorted({seed for by_seed in results.values() for seed in by_seed})
    epochs = config["options"]["epochs"] or config["settings"]["train_cfg"]["max_epochs"]
    facts = {
        "Dataset": str(config["dataset"]),
        "Methods": f"{len(results)}: {'; '.join(map(title_of, results))}",
        "Seeds": ", ".join(map(str, seeds)),
        "Epochs": str(epochs),
        **written,
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
    return note


def figures_part(figures: Mapping[str, Figure]) -> str:
    """All figures with their captions, those of single methods or groups folded away."""
    shown, of_groups, of_methods = [], [], []
    for i, (name, figure) in enumerate(figures.items(), start=1):
        if name.startswith(STEP_PREFIX):
            method = title_of(name.removeprefix(STEP_PREFIX))
            caption, place = f"{method}: share of each label at each step.", of_methods
        elif name.startswith(GROUP_PREFIX):
            group = name.removeprefix(GROUP_PREFIX)
            caption, place = f"Co-occurrence difference within the group {group}.", of_groups
        else:
            caption, place = CAPTIONS[name], shown
        place.append(figure_element(figure, f"Figure {i}", caption))
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


def figure_element(figure: Figure, name: str, caption: str) -> str:
    """A figure that a click enlarges."""
    width, height = (round(PAGE_DPI * inches) for inches in figure.get_size_inches())
    image = (
        f'<img src="{figure_uri(figure)}" width="{width}" height="{height}" '
        f'alt="{escape(caption)}" decoding="async">'
    )
    return (
        f'<figure><button type="button" class="zoom" aria-label="Enlarge {name}: '
        f'{escape(caption)}">{image}</button>'
        f"<figcaption><strong>{name}.</strong> {escape(caption)}</figcaption></figure>"
    )


def figure_uri(figure: Figure) -> str:
    """A figure as a data URI: a PNG of 256 colours, half as large as its SVG."""
    drawn, reduced = io.BytesIO(), io.BytesIO()
    with warnings.catch_warnings():
        # Names in a script that the font lacks are boxes here; the rest of the page has them.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(drawn, format="png", dpi=FIGURE_DPI)
    Image.open(drawn).convert("RGB").quantize(256).save(reduced, "PNG", optimize=True)
    return "data:image/png;base64," + b64encode(reduced.getvalue()).decode()


def gallery_parts(comparison: Comparison, size: int) -> tuple[str, dict[str, Any]]:
    """The gallery's elements, and what its script reads.

    Args:
        comparison: with the predictions of at least one method, or the gallery is empty.
        size: how many photos to show.
    """
    if not comparison.predictions:
        return '<p class="note">No run has written predictions.</p>', {"methods": []}
    first = next(iter(comparison.predictions.values()))
    classes = [str(name) for name in first["classes"]]
    all_truth = label_lists(first, "truth")
    chosen = np.sort(choose_gallery(all_truth, len(classes), size))
    truth = [all_truth[i] for i in chosen]
    paths = [str(first["img_path"][i]) for i in chosen]
    ordered = {
        method: bool(next(iter(comparison.results[method].values()))["sequence"])
        for method in comparison.predictions
    }
    records = {}
    for method, arrays in comparison.predictions.items():
        labels = label_lists(arrays, "sequence" if ordered[method] else "predicted")
        maps = comparison.attention[method]
        records[method] = [
            prediction_record(labels[i], all_truth[i], arrays["scores"][i], maps.get(int(i)))
            for i in chosen
        ]
    titles = {method: title_of(method) for method in records}
    cards = "\n".join(
        card_element(path, embed_photo(path), [classes[label] for label in labels])
        for path, labels in zip(paths, truth, strict=True)
    )
    filters = filters_element(classes, truth, records, titles)
    missing = len(all_truth) - len(chosen)
    note = (
        f"{len(chosen)} of the {len(all_truth):,} test photos, drawn at random such that every "
        "class is among their labels where that is possible. "
        if missing
        else "All test photos. "
    )
    note += (
        "Labels of a sequence model are in order of emission, the others by class; beside each is "
        "its score. Point at a label, or focus or tap it, to see where the model looked when it "
        "emitted it (where the method has attention)."
    )
    legend = (
        '<ul class="legend"><li class="right">✓ right</li><li class="wrong">✗ wrong</li>'
        '<li class="repeat">↻ repeated</li><li class="missing">– <span class="name">missing</span>'
        "</li></ul>"
    )
    html = f'<p class="note">{note}</p>\n{legend}\n{filters}\n<ul class="photos">\n{cards}\n</ul>'
    return html, gallery_data(classes, truth, records, titles, ordered)


def filters_element(
    classes: Sequence[str],
    truth: Sequence[Any],
    records: Mapping[str, Sequence[Mapping[str, Any]]],
    titles: Mapping[str, str],
) -> str:
    """The selects of method, class and kind; classes that no photo is about are left out."""
    true_labels = [int(label) for labels in truth for label in labels]
    emitted = {c for photos in records.values() for photo in photos for c in photo["labels"]}
    shown = sorted(emitted.union(true_labels), key=lambda c: classes[c].casefold())
    options = {
        "method": {str(i): titles[method] for i, method in enumerate(records)},
        "class": {
            "": "any",
            **{str(c): f"{classes[c]} ({true_labels.count(c)})" for c in shown},
        },
        "kind": KINDS,
    }
    chosen = str(list(records).index(REFERENCE)) if REFERENCE in records else "0"
    fields = "".join(
        f'<label class="field"><span>{name.capitalize()}</span>'
        f'<select id="{name}" autocomplete="off">'
        + "".join(
            f'<option value="{value}"{" selected" if (name, value) == ("method", chosen) else ""}>'
            f"{escape(text)}</option>"
            for value, text in choice.items()
        )
        + "</select></label>"
        for name, choice in options.items()
    )
    return (
        f'<div class="filters"><div class="controls" role="group" aria-label="Filter">{fields}'
        '<button type="button" class="plain" id="reset" disabled>Clear filter</button></div>'
        '<p id="shown" role="status" aria-live="polite"></p></div>'
    )


def card_element(path: str, photo: Photo | None, true_names: Sequence[str]) -> str:
    """A photo of the gallery, which the script completes with a method's labels."""
    name = escape(Path(path).name)
    labels = escape(", ".join(true_names)) or "none"
    if photo is None:
        picture = f'<span class="absent">{name}<br>(not found)</span>'
    else:
        picture = (
            f'<span class="picture" style="--width:{photo.width};--height:{photo.height}">'
            f'<img src="{photo.source}" width="{photo.width}" height="{photo.height}" '
            f'alt="Photo {name}; true labels: {labels}" decoding="async">'
            "<canvas hidden></canvas></span>"
        )
    return (
        f'<li class="photo"><div class="frame">{picture}</div>'
        f'<h3 title="{escape(path)}">{name}</h3><div class="labels"></div></li>'
    )


def json_for_script(value: Any) -> str:
    """Return JSON that cannot end the script element it is in, nor begin a comment there."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
