"""Read images and the names of their labels from a CSV file."""

import csv
import io
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from mmengine.logging import print_log

from mmorderless.datasets.faults import (
    repeated_items,
    report_cut_end,
    report_doubt,
    report_fault,
)
from mmorderless.datasets.json_values import shown
from mmorderless.datasets.text_files import read_text

DELIMITERS = (",", ";", "\t")
IMAGE, LABELS, IGNORE = "image", "labels", "ignore"
FORM = "the header is image,labels or image,labels,ignore, or image and a 0/1 column per class"
FLAGS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}

LIST = re.compile(r"\[.*\]|\{.*\}|\(.*,.*\)")
NUMBER = re.compile(r"-?\d+(\.\d*)?")
LISTED = re.compile(r"\s*[,|]\s*")
WORDS = re.compile(r"\s*[,|/&+]\s*|\s+")


@dataclass(frozen=True)
class LabeledImage:
    """An image's path as written, the names of its labels, and of the classes not judged in it."""

    image: str
    labels: list[str]
    ignored: list[str]


@dataclass(frozen=True)
class LabelTable:
    """Content of a CSV file.

    Attributes:
        rows: the images, in the order of the file.
        classes: class names: the columns in their order, or else the sorted names in the cells.
        has_ignore: whether there is a column `ignore`.
    """

    rows: list[LabeledImage]
    classes: list[str]
    has_ignore: bool


def read_label_table(path: str) -> LabelTable:
    """Read a CSV file of images and labels.

    The cells are separated by commas, semicolons (as Excel writes them in some countries) or tabs.
    A cell of labels has names separated by `;`, and an empty one means none. Blanks around a name
    are removed. Rows without content are skipped. A last line without a line end is a doubt.

    Args:
        path: UTF-8, with or without a byte-order mark, quoted as in RFC 4180. The header is `image`
            and `labels`, or `image` and the names of the classes, with 0 or 1 in their columns. A
            column `ignore` has, in the form of `labels`, the classes that are not judged.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: not UTF-8, wrong quoting, another header, a row of another length, an empty
            image path or label name, a label twice in a cell, a flag that is not 0 or 1, or an
            image in two rows.
    """
    header, cells_of_rows = read_cells(path, FORM)
    classes = [name for name in header if name not in (IMAGE, LABELS, IGNORE)]
    if (LABELS in header) == bool(classes):
        raise ValueError(f"{path} has the columns {shown(header)}; {FORM}")
    parsed = [parse_row(cells, line) for line, cells in cells_of_rows]
    rows = [row for row in parsed if row is not None]
    report_repeated_images(rows, path)
    if classes:
        print_log(f"{path}: read as a 0/1 column for each of {len(classes)} classes", "current")
        if len(classes) == 1:
            report_doubt(
                f"{path}: {classes[0]!r} is read as the only class, with 0 or 1; if the column has "
                f"labels, name it {LABELS!r} and write their names"
            )
    else:
        classes = sorted({name for row in rows for name in (*row.labels, *row.ignored)})
    return LabelTable(rows, classes, IGNORE in header)


def read_cells(path: str, form: str) -> tuple[list[str], list[tuple[str, dict[str, str]]]]:
    """Read the header of a CSV file, and for each row where it is and its cells by column.

    A row of another length is reported as a fault and left out.

    Args:
        path: see `read_label_table`.
        form: the remedy of a wrong header.

    Raises:
        OSError, ValueError: see `read_label_table`.
    """
    text = read_text(path)
    if "\0" in text:
        raise ValueError(f"{path} has NUL characters, so it is damaged; write it again as UTF-8")
    report_cut_end(text, path)
    delimiter = find_delimiter(text, path, form)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: {error}; quote cells as in RFC 4180"
        ) from None
    _, header = rows.pop(0)
    if "" in header:
        raise ValueError(f"{path}: column {header.index('') + 1} has no name; {form}")
    if repeated := repeated_items(header):
        raise ValueError(f"{path}: columns {shown(repeated)} occur twice in the header; {form}")
    named = []
    for number, cells in rows:
        line = f"{path}, line {number}"
        if len(cells) == len(header) and any(cells):
            named.append((line, dict(zip(header, cells))))
        elif any(cells):
            report_fault(
                f"{line}: the header has {len(header)} cells, this row {len(cells)}: "
                f"{shown(cells)}; separate labels by ';' and quote a cell that holds the separator "
                "of cells"
            )
    return header, named


def find_delimiter(text: str, path: str, form: str) -> str:
    """Return the delimiter with which the header's first cell of several is `image`; log it.

    Raises:
        ValueError: there is none.
    """
    first_line = text.partition("\n")[0].strip()
    for delimiter in DELIMITERS:
        cells = [cell.strip(' "') for cell in first_line.split(delimiter)]
        if cells[0] == IMAGE and len(cells) > 1:
            if delimiter != ",":
                print_log(f"{path}: cells are separated by {delimiter!r}", logger="current")
            return delimiter
    raise ValueError(f"{path} must start with a header, got {shown(first_line)}; {form}")


def parse_row(cells: Mapping[str, str], line: str) -> LabeledImage | None:
    """Turn a row into an image; a fault is reported, and None returned, if there is one."""
    named = dict(cells)
    image = named.pop(IMAGE)
    ignored = split_names(named.pop(IGNORE, ""))
    if LABELS in named:
        labels = split_names(named[LABELS])
    else:
        flags = {name: FLAGS.get(cell.lower()) for name, cell in named.items()}
        labels = [name for name, flag in flags.items() if flag]
        if wrong := {name: named[name] for name, flag in flags.items() if flag is None}:
            report_fault(f"{line}: must be 0 or 1, got {shown(wrong)}; {FORM}")
            return None
    if not image or "" in (*labels, *ignored):
        report_fault(
            f"{line}: empty image path or label name in {shown(list(cells.values()))}; remove or "
            "name it"
        )
        return None
    repeated = repeated_items(labels) + repeated_items(ignored)
    if repeated:
        report_fault(f"{line}: labels {shown(repeated)} of {image} occur twice; list each once")
    return LabeledImage(image, list(dict.fromkeys(labels)), list(dict.fromkeys(ignored)))


def report_repeated_images(rows: Sequence[LabeledImage], path: str) -> None:
    """Report the images that have several rows as faults."""
    for image in repeated_items([row.image for row in rows]):
        report_fault(
            f"image {image} has more than one row in {path}; "
            "write an image's labels in one cell, separated by ';'"
        )


def split_names(cell: str) -> list[str]:
    """Return the names in a cell."""
    return [name.strip() for name in cell.split(";")] if cell else []


def report_doubtful_names(classes: Sequence[str], path: str) -> None:
    """Report a doubt about class names that seem to be one name, several, lists or numbers."""
    if several := joined_names(classes):
        report_doubt(
            f"{path}: class names {shown(several)} look like several labels each; "
            "separate the labels in a cell by ';', without brackets"
        )
    if similar := similar_names(classes):
        report_doubt(
            f"{path}: class names {shown(similar)} differ only in case, blanks or invisible "
            "characters; spell a class in one way, or list the names in `classes`"
        )
    if classes and all(map(NUMBER.fullmatch, classes)):
        report_doubt(
            f"{path}: the class names are the numbers {shown(list(classes))}; write each class's "
            "name in place of its number"
        )


def joined_names(names: Sequence[str]) -> list[str]:
    """List the names that look like a list, or are made of other names.

    Commas make a list if each part occurs in another name too, other separators and blanks if each
    part is a name or a number: `dining table` and `tench, Tinca tinca` are names.

    >>> joined_names(["people", "sky", "people,sky", "people sky", "['sea']", "pool table", "0 3"])
    ['people,sky', 'people sky', "['sea']", '0 3']
    """
    uses = Counter(part for name in names for part in LISTED.split(name))
    known = set(names)
    return [
        name
        for name in names
        if LIST.fullmatch(name)
        or _are_several(LISTED.split(name), lambda part: uses[part] > 1)
        or _are_several(WORDS.split(name), lambda part: part in known or NUMBER.fullmatch(part))
    ]


def similar_names(names: Sequence[str]) -> list[str]:
    """List the names that differ from another one only in case, blanks or invisible characters.

    >>> similar_names(["cat", "Cat", "dog", "dining table", "dining  table"])
    ['cat', 'Cat', 'dining table', 'dining  table']
    """
    seen = [_as_seen(name) for name in names]
    uses = Counter(seen)
    return [name for name, key in zip(names, seen) if uses[key] > 1]


def _as_seen(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join("".join(c for c in folded if unicodedata.category(c) != "Cf").split())


def _are_several(parts: Sequence[str], is_known: Callable[[str], object]) -> bool:
    return len(parts) > 1 and all(map(is_known, parts))
