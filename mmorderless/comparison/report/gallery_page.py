"""The gallery of a comparison's report: photos with each method's labels and attention."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from mmorderless.comparison.evaluation.gallery import AttentionMaps, choose_gallery
from mmorderless.comparison.report.results import REFERENCE, Comparison, label_lists
from mmorderless.figures.style import title_of
from mmorderless.labels.label_lists import Labels

# Pixels of a photo's longer side, and the JPEG quality: about 8 kB a photo.
PHOTO_SIDE, PHOTO_QUALITY = 192, 80
KINDS = {
    "": "any",
    "missing": "a label is missing",
    "wrong": "a label is wrong",
    "right": "all labels are right",
    "repeated": "a label is repeated",
}


class Photo(NamedTuple):
    """A downscaled photo as a data URI, and its size in pixels."""

    source: str
    width: int
    height: int


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
        "Predictions are those of each method's first seed. Labels of a sequence model are in "
        "order of emission, the others by class; beside each is its score. "
    )
    if comparison.cuts:
        note += (
            "The photos are shown whole, but the network sees a part of each "
            f"({', '.join(comparison.cuts)}), so there are no maps of where it looked."
        )
    else:
        note += (
            "Point at a label, or focus or tap it, to see where the model looked when it emitted "
            "it (where the method has attention)."
        )
    legend = (
        '<ul class="legend"><li class="right">✓ right</li><li class="wrong">✗ wrong</li>'
        '<li class="repeat">↻ repeated</li><li class="missing">– <span class="name">missing</span>'
        "</li></ul>"
    )
    photos = f'<ul class="photos" hidden>\n{cards}\n</ul>'  # the script shows them, filled
    html = f'<p class="note">{escape(note)}</p>\n{legend}\n{filters}\n{photos}'
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


def embed_photo(path: str) -> Photo | None:
    """Read a photo and make it small; None where there is no readable picture."""
    try:
        with Image.open(path) as image:
            image.draft("RGB", (PHOTO_SIDE, PHOTO_SIDE))  # a large JPEG is decoded at a fraction
            small = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, ValueError):  # a damaged file gives either
        return None
    small.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=PHOTO_QUALITY, optimize=True)
    source = "data:image/jpeg;base64," + b64encode(buffer.getvalue()).decode()
    return Photo(source, small.width, small.height)


def prediction_record(
    labels: Labels, truth: Labels, scores: np.ndarray, attention: AttentionMaps | None
) -> dict[str, Any]:
    """What a method says of one photo, as plain values for the page.

    Args:
        labels: the predicted labels, those of a sequence as emitted, repeats included.
        truth: the true labels.
        scores: score of each class, shape (C,).
        attention: of these labels; that of others (of an older run) is left out.

    Returns:
        `labels`; `missing`, the true labels that are not among them; `scores` of both, by class;
        and `maps` where there are any: h, w, and for each label h · w bytes, 255 where its map is
        largest, in Base64.
    """
    emitted = [int(label) for label in labels]
    missing = [int(label) for label in truth if label not in emitted]
    shown = {str(c): round(float(scores[c]), 3) for c in dict.fromkeys(emitted + missing)}
    record: dict[str, Any] = {"labels": emitted, "missing": missing, "scores": shown}
    if attention is not None and attention.sequence == emitted and emitted:
        maps = attention.maps
        largest = np.maximum(maps.max(axis=(1, 2), keepdims=True), np.finfo(np.float32).tiny)
        levels = np.rint(255 * maps / largest).astype(np.uint8)
        height, width = maps.shape[1:]
        record["maps"] = [height, width, b64encode(levels.tobytes()).decode()]
    return record


def gallery_data(
    classes: Sequence[str],
    truth: Sequence[Labels],
    records: Mapping[str, Sequence[dict[str, Any]]],
    titles: Mapping[str, str],
    ordered: Mapping[str, bool],
) -> dict[str, Any]:
    """What the page's script reads.

    Args:
        classes: class names.
        truth: the true labels of each photo.
        records: `prediction_record` of each photo, by method.
        titles: how each method is called.
        ordered: whether a method's labels are in order of emission, by method.
    """
    return {
        "classes": list(classes),
        "truth": [[int(label) for label in labels] for labels in truth],
        "methods": [
            {
                "name": method,
                "title": titles[method],
                "ordered": ordered[method],
                "predictions": list(photos),
            }
            for method, photos in records.items()
        ],
    }
