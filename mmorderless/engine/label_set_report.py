"""Write files and figures about predicted label sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from mmorderless.datasets.loading import LoadImage
from mmorderless.figures.fonts import drawable_names
from mmorderless.figures.label_sets import (
    annotated_image,
    cooccurrence_figure,
    label_at_step_figure,
    pair_order_figure,
)
from mmorderless.figures.style import figure_to_rgb
from mmorderless.labels.label_lists import RaggedLabels, sparse_label_matrix
from mmorderless.metrics.order_statistics import (
    cooccurrence,
    counts_at_step,
    pair_order_counts,
    pair_table,
)
from mmorderless.metrics.ranking import scores_at
from mmorderless.metrics.records import Records
from mmorderless.runs.files import replacing, write_png

# The figures of (C, C) counts are left out for more classes: a cell would be less than a pixel.
MAX_DRAWN_CLASSES = 1000
MIN_SIDE = 400  # of a picture, in pixels

Save = Callable[[Path, Figure], None]
"""Writes a figure to a file."""


def write_report(
    records: Records,
    classes: list[str],
    folder: Path,
    num_images: int,
    show: Callable[[str, np.ndarray], None],
    backend_args: dict | None = None,
) -> list[str]:
    """Write the files and figures of a report.

    Args:
        records: predictions of the dataset.
        classes: class names.
        folder: folder to write into.
        num_images: number of annotated pictures.
        show: also receives each figure: its name and RGB values, uint8, shape (height, width, 3).
        backend_args: storage of the images, as in `LoadImage`.

    Returns:
        The paths of images to annotate that are not readable.

    Raises:
        ValueError: pictures are to be annotated and the predictions have no scores.
    """
    if num_images and records.scores is None:
        raise ValueError(
            "LabelSetReportHook needs pred_score in every prediction to annotate pictures; set "
            "num_images=0"
        )

    def save(path: Path, figure: Figure) -> None:
        rgb = figure_to_rgb(figure)
        write_png(path, rgb)
        show(path.stem, rgb)

    write_cooccurrence(records, classes, folder, save)
    if records.sequence is not None:
        write_order(records.sequence, classes, folder, save)
    load = LoadImage(min_side=MIN_SIDE, backend_args=backend_args)
    return write_images(records, classes, num_images, folder / "images", save, load)


def write_cooccurrence(records: Records, classes: list[str], folder: Path, save: Save) -> None:
    """Write `cooccurrence.npz`, and its figure unless there are too many classes."""
    predicted, truth = (
        cooccurrence(sparse_label_matrix(label_sets, len(classes)))
        for label_sets in (records.predicted, records.truth)
    )
    if len(classes) <= MAX_DRAWN_CLASSES:
        figure = cooccurrence_figure(predicted.toarray(), truth.toarray(), classes)
        save(folder / "cooccurrence.png", figure)
    pairs, counts = pair_table(predicted, truth)
    with replacing(folder / "cooccurrence.npz") as unfinished:
        np.savez_compressed(
            unfinished,
            pairs=pairs,
            predicted=counts[:, 0],
            truth=counts[:, 1],
            classes=np.array(classes),
        )


def write_order(sequences: RaggedLabels, classes: list[str], folder: Path, save: Save) -> None:
    """Write `order.npz` and its two figures, one of them unless there are too many classes."""
    counts = counts_at_step(sequences, len(classes))
    save(folder / "label_at_step.png", label_at_step_figure(counts, classes))
    before = pair_order_counts(sequences, len(classes))
    if len(classes) <= MAX_DRAWN_CLASSES:
        save(folder / "pair_order.png", pair_order_figure(before.toarray(), classes))
    pairs, both_orders = pair_table(before, before.T)
    with replacing(folder / "order.npz") as unfinished:
        np.savez_compressed(
            unfinished,
            count_at_step=counts,
            pairs=pairs,
            before=both_orders,
            rigidness=100 * both_orders.max(axis=1) / both_orders.sum(axis=1),
            classes=np.array(classes),
        )


def write_images(
    records: Records,
    classes: list[str],
    num_images: int,
    folder: Path,
    save: Save,
    load: LoadImage,
) -> list[str]:
    """Write annotated pictures, evenly spaced over the dataset; return the unreadable paths."""
    names = drawable_names(classes)
    number = min(num_images, len(records))
    unreadable = []
    for index in np.linspace(0, len(records) - 1, number).round().astype(int):
        record = records.take(np.array([index]))
        path, labels = record.img_path[0], record.predicted.label
        try:
            bgr = load({"img_path": path})["img"]
        except (ValueError, OSError):
            unreadable.append(path)
            continue
        scores = scores_at(record.scores, np.zeros_like(labels), labels)
        figure = annotated_image(
            bgr[..., ::-1],
            [names[label] for label in labels],
            np.maximum(scores, 0),  # −∞ where the score is not among the highest that are kept
            [names[label] for label in record.truth.label],
        )
        save(folder / f"image_{index:06d}.png", figure)
    return unreadable
