"""What a person decides about the labels of photos, kept in a CSV file."""

import csv
import io
import math
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from mmorderless.datasets.csv_files import IMAGE, LABELS, read_label_table
from mmorderless.datasets.image_paths import join_paths
from mmorderless.datasets.json_values import shown
from mmorderless.runs.files import write_text

UNWRITABLE = re.compile(r"^$|^\s|\s$|[\r\n\ud800-\udfff]")
"""What a cell of a CSV file would not give back."""


class TaggingSession:
    """Photos to tag, which labels a person confirmed or rejected, and which photo is shown.

    The CSV has a row `image,labels` for each photo that was saved, with paths relative to its
    folder, as `CsvMultiLabel` reads it. In a saved photo all classes are decided: its labels are
    confirmed, and the others rejected.

    Args:
        images: paths of the photos.
        classes: class names.
        file: the CSV; its rows of other images are kept.

    Raises:
        FileNotFoundError: there is no such photo.
        ValueError: the CSV is not one of these, or a path or class name cannot be written to it.

    Attributes:
        images: absolute paths of the photos, each once.
        order: the order to tag them in.
        saved: labels by photo, those of the CSV.
        current: the photo that is shown; None when all are saved.
    """

    def __init__(self, images: Sequence[str], classes: Sequence[str], file: Path) -> None:
        if missing := [image for image in images if not os.path.isfile(image)]:
            raise FileNotFoundError(f"there is no photo {missing[0]}; check the path")
        self.images = list(dict.fromkeys(map(os.path.abspath, images)))
        self.classes = list(classes)
        self.file = file
        self._folder = os.path.realpath(file.parent)  # `..` leads out of a linked folder's target
        paths = map(self._relative, self.images)
        unwritable = [path for path in paths if UNWRITABLE.search(path)]
        unwritable += [c for c in classes if UNWRITABLE.search(c) or ";" in c]
        if unwritable:
            raise ValueError(
                f"{unwritable[0]!r} cannot be written to {file}, where blanks at the ends, line "
                "ends, bytes that are no UTF-8 and, in class names, ';' are not kept; rename it"
            )
        self.saved = self._read() if file.exists() else {}
        self._decisions: dict[str, dict[str, bool]] = {}
        self.order = self.images
        self.current = self.after(self.order[-1])

    def decisions(self, image: str) -> dict[str, bool]:
        """Return the decided classes of a photo: True for confirmed and False for rejected ones."""
        if image not in self._decisions:
            labels = self.saved.get(image)
            others = [] if labels is None else [c for c in self.classes if c not in labels]
            decided = {**dict.fromkeys(labels or (), True), **dict.fromkeys(others, False)}
            self._decisions[image] = decided
        return self._decisions[image]

    def decide(self, image: str, label: str, verdict: bool | None) -> None:
        """Confirm (True) or reject (False) a label of a photo, or leave it to the model (None).

        Raises:
            ValueError: there is no such class.
        """
        if label not in self.classes:
            raise ValueError(f"{label!r} is not one of the model's {len(self.classes)} classes")
        decided = self.decisions(image)
        decided.pop(label, None)  # the one confirmed last is the last
        if verdict is not None:
            decided[label] = verdict

    def known(self, image: str) -> tuple[list[str], list[str]]:
        """Return the confirmed and the rejected classes of a photo, in the order of decision."""
        decided = self.decisions(image)
        return [c for c in decided if decided[c]], [c for c in decided if not decided[c]]

    def save(self, image: str, labels: Sequence[str]) -> None:
        """Set the labels of a photo and write the CSV.

        Raises:
            OSError: the CSV cannot be written; nothing is changed.
        """
        saved = {**self.saved, image: list(labels)}
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow((IMAGE, LABELS))
        writer.writerows((self._relative(path), ";".join(saved[path])) for path in saved)
        write_text(self.file, text.getvalue())
        self.saved = saved
        self._decisions.pop(image, None)

    def after(self, image: str) -> str | None:
        """Return the next photo that is not saved, from the start again after the last one."""
        start = self.order.index(image) + 1
        following = (*self.order[start:], *self.order[:start])
        return next((other for other in following if other not in self.saved), None)

    def before(self, image: str | None) -> str:
        """Return the photo before one, or the last one; the first has none before it."""
        start = len(self.order) if image is None else self.order.index(image)
        return self.order[max(start - 1, 0)]

    def sort(self, probabilities: Mapping[str, float]) -> None:
        """Order the photos by a probability, those without one last, and go to the first unsaved.

        Without any the order is that of the paths.
        """
        self.order = sorted(self.images, key=lambda image: probabilities.get(image, math.inf))
        self.current = self.after(self.order[-1])

    def _relative(self, image: str) -> str:
        return os.path.relpath(image, self._folder)

    def _read(self) -> dict[str, list[str]]:
        table = read_label_table(str(self.file))
        if table.has_ignore:
            raise ValueError(
                f"{self.file} has a column `ignore`, which tagging does not keep; move the file"
            )
        if unknown := [name for name in table.classes if name not in self.classes]:
            raise ValueError(
                f"labels {shown(unknown)} in {self.file} are not among the model's "
                f"{len(self.classes)} classes; correct them, or move the file"
            )
        names = [row.image for row in table.rows]
        paths = join_paths(self._folder, names, str(self.file))
        return {os.path.abspath(path): row.labels for path, row in zip(paths, table.rows)}


class ShownLabel(NamedTuple):
    """A label of a photo as it is shown.

    Args:
        name: the class.
        probability: 1 for confirmed labels.
        confirmed: whether a person said so.
        row: index of its attention map; None without one.
    """

    name: str
    probability: float
    confirmed: bool
    row: int | None


def shown_labels(result: Mapping[str, Any], confirmed: Sequence[str]) -> list[ShownLabel]:
    """Return a photo's labels: the confirmed ones, then the others in the order of emission.

    Labels of a model that does not emit a sequence follow by probability.

    Args:
        result: of an `OrderlessInferencer`, with `attention` if there are maps.
        confirmed: the confirmed labels, which may be more than the model was given.
    """
    sequence = result["sequence"]
    emitted = result["labels"] if sequence is None else sequence
    row_of: dict[str, int | None] = dict.fromkeys(result["names"])
    if "attention" in result:
        row_of = {name: emitted.index(c) for c, name in zip(result["labels"], result["names"])}
    rest = [p for p in zip(result["names"], result["probabilities"]) if p[0] not in confirmed]
    if sequence is None:
        rest.sort(key=lambda pair: -pair[1])
    return [
        *(ShownLabel(name, 1.0, True, row_of.get(name)) for name in confirmed),
        *(ShownLabel(name, p, False, row_of[name]) for name, p in rest),
    ]


def set_probability(result: Mapping[str, Any]) -> float:
    """Return the probability that a model gives the set that it predicts, given what is known.

    - Sequence models with a softmax: the product of the probabilities of the emitted labels after
      the given ones and of END, that is of this sequence; repeats count.
    - `known_sets`: P(S | x, given, excluded), which is the same product.
    - Models that score each label by a sigmoid, and all others: the product over the classes of
      the score p of a label and 1 − p of another class, as if labels were independent.

    Args:
        result: of an `OrderlessInferencer`.
    """
    if (end := result.get("end_probability")) is not None:
        return math.prod(result["sequence_probabilities"][len(result.get("given", ())) :]) * end
    labels = set(result["labels"])
    return math.prod(p if c in labels else 1 - p for c, p in enumerate(result["scores"]))
