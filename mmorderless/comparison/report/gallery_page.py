"""The gallery of the report: photos with each method's labels and attention maps."""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mmorderless.comparison.evaluation.gallery import GALLERY_SIZE, AttentionMaps, choose_gallery
from mmorderless.comparison.report.results import REFERENCE, Comparison, label_lists
from mmorderless.datasets.loading import LoadImage
from mmorderless.figures.style import title_of
from mmorderless.labels.label_lists import Labels

# Pixels of a photo's longer side and JPEG quality: about 8 kB per photo.
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


@dataclass(frozen=True)
class Card:
    """A photo of the gallery with its true labels, to which the script adds a method's labels."""

    path: str
    photo: Photo | None  # None if it cannot be read
    labels: str

    @property
    def name(self) -> str:
        """File name of the photo."""
        return Path(self.path).name


@dataclass(frozen=True)
class Gallery:
    """The gallery's content.

    Attributes:
        note: sentence above the photos.
        cards: the photos; empty if no run has predictions.
        filters: the options of each filter: text by value.
        method: value of the method that is shown first.
        data: data that the script of the page reads.
    """

    note: str
    cards: list[Card]
    filters: dict[str, dict[str, str]]
    method: str
    data: dict[str, Any]


def fill_gallery(comparison: Comparison, size: int = GALLERY_SIZE) -> Gallery:
    """Choose photos and collect each method's predictions for them."""
    if not comparison.predictions:
        return Gallery("No run has written predictions.", [], {}, "", {"methods": []})
    first = next(iter(comparison.predictions.values()))
    classes = [str(name) for name in first["classes"]]
    all_truth = label_lists(first, "truth")
    chosen = np.sort(choose_gallery(all_truth, len(classes), size))
    truth = [all_truth[i] for i in chosen]
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
    paths = [str(first["img_path"][i]) for i in chosen]
    storage = photo_storage(comparison.config.get("settings", {}).get("test_dataloader"))
    return Gallery(
        gallery_note(len(chosen), len(all_truth), comparison.crops),
        [
            Card(
                path,
                embed_photo(path, storage),
                ", ".join(classes[label] for label in labels) or "none",
            )
            for path, labels in zip(paths, truth, strict=True)
        ],
        gallery_filters(classes, truth, records, titles),
        str(list(records).index(REFERENCE)) if REFERENCE in records else "0",
        {
            "classes": classes,
            "truth": [[int(label) for label in labels] for labels in truth],
            "methods": [
                {
                    "name": method,
                    "title": titles[method],
                    "ordered": ordered[method],
                    "predictions": photos,
                }
                for method, photos in records.items()
            ],
        },
    )


def gallery_note(shown: int, total: int, crops: Sequence[str]) -> str:
    """Return how the photos were chosen and how to read their labels."""
    choice = (
        f"{shown} of the {total:,} test photos, drawn at random such that every class is among "
        "their labels if possible."
        if shown < total
        else "All test photos."
    )
    attention = (
        "The photos are shown whole, but the network sees only a part of each "
        f"({', '.join(crops)}), so attention maps are not shown."
        if crops
        else "Hover over a label, focus it or tap it to see the model's attention when it emitted "
        "the label (for methods with attention)."
    )
    return (
        f"{choice} Predictions are those of each method's first seed. The labels of a sequence "
        "model are in order of emission, those of other methods in order of class; the number "
        f"next to each label is its score. {attention}"
    )


def gallery_filters(
    classes: Sequence[str],
    truth: Sequence[Labels],
    records: Mapping[str, Sequence[Mapping[str, Any]]],
    titles: Mapping[str, str],
) -> dict[str, dict[str, str]]:
    """Return the options of the filters by method, class and kind, as text by value.

    Classes that no photo has or is predicted to have are left out.
    """
    true_labels = [int(label) for labels in truth for label in labels]
    emitted = {c for photos in records.values() for photo in photos for c in photo["labels"]}
    shown = sorted(emitted.union(true_labels), key=lambda c: classes[c].casefold())
    counts = {str(c): f"{classes[c]} ({true_labels.count(c)})" for c in shown}
    return {
        "method": {str(i): titles[method] for i, method in enumerate(records)},
        "class": {"": "any", **counts},
        "kind": KINDS,
    }


def photo_storage(settings: Any) -> dict[str, Any] | None:
    """Return the first `backend_args` in a dataloader's settings: its storage of images."""
    if isinstance(settings, Mapping) and settings.get("backend_args"):
        return dict(settings["backend_args"])
    inner = settings.values() if isinstance(settings, Mapping) else settings
    found = map(photo_storage, inner) if isinstance(settings, Mapping | list) else ()
    return next(filter(None, found), None)


def embed_photo(path: str, backend_args: dict | None = None) -> Photo | None:
    """Read and downscale a photo at a path or address; None if it cannot be read."""
    load = LoadImage(min_side=PHOTO_SIDE, backend_args=backend_args)
    try:
        bgr = load({"img_path": path})["img"]
    except (OSError, ValueError):
        return None
    small = Image.fromarray(bgr[..., ::-1])
    small.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=PHOTO_QUALITY, optimize=True)
    source = "data:image/jpeg;base64," + b64encode(buffer.getvalue()).decode()
    return Photo(source, small.width, small.height)


def prediction_record(
    labels: Labels, truth: Labels, scores: np.ndarray, attention: AttentionMaps | None
) -> dict[str, Any]:
    """Return a method's prediction for one photo as JSON values.

    Args:
        labels: predicted labels; of a sequence model as emitted, repeats included.
        truth: the true labels.
        scores: score of each class, shape (C,).
        attention: attention maps; ignored if they belong to other labels (of an older run).

    Returns:
        `labels`; `missing`, the true labels that are not among them; `scores` of both by class;
        and, if there are any, `maps`: h, w, and Base64 of h · w bytes per label, 255 at its
        maximum.
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
