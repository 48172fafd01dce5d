"""Label sets from a CSV file with the header `image,labels`."""

import csv
import io
import os.path as osp
from collections.abc import Sequence

from mmpretrain.datasets import MultiLabelDataset
from mmpretrain.registry import DATASETS

from mmorderless.datasets.annotations import check_classes, read_class_names, select_images
from mmorderless.datasets.faults import repeated_items, report_fault
from mmorderless.datasets.image_paths import image_backend, join_paths
from mmorderless.datasets.text_files import read_text

HEADER = ["image", "labels"]


def read_label_names(path: str) -> list[tuple[str, list[str]]]:
    """Read a CSV of images and label names.

    Args:
        path: UTF-8, with or without a byte-order mark, quoted as in RFC 4180. The header is
            `image,labels`; labels are separated by `;`, and an empty cell means none. Blanks
            around a name are removed.

    Returns:
        For each row the image's path as written and its label names in the order written.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not UTF-8, wrong quoting, another header, a row without two cells, an empty
            image path or label name, a label twice in a cell, or an image in two rows.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        header = next(reader, [])
        if [cell.strip() for cell in header] != HEADER:
            raise ValueError(f"{path} must start with the header image,labels, got {header}")
        parsed = [_parse_row(row, f"{path}, line {reader.line_num}") for row in reader if row]
    except csv.Error as error:
        raise ValueError(
            f"{path}, line {reader.line_num}: {error}; quote cells as in RFC 4180"
        ) from None
    rows = [row for row in parsed if row is not None]
    for image in repeated_items([image for image, _ in rows]):
        report_fault(
            f"image {image} has more than one row in {path}; "
            "write an image's labels in one cell, separated by ';'"
        )
    return rows


def _parse_row(row: list[str], line: str) -> tuple[str, list[str]] | None:
    if len(row) != 2:
        report_fault(
            f"{line}: a row has two cells, image and labels, got {len(row)}: {row}; "
            "separate labels by ';' and quote a cell that holds a comma"
        )
        return None
    image, cell = row[0].strip(), row[1].strip()
    names = [name.strip() for name in cell.split(";")] if cell else []
    if not image or "" in names:
        report_fault(f"{line}: empty image path or label name in {row}; remove or name it")
        return None
    repeated = repeated_items(names)
    if repeated:
        report_fault(f"{line}: labels {repeated} of {image} occur twice; list each once")
    return image, list(dict.fromkeys(names))


@DATASETS.register_module()
class CsvMultiLabel(MultiLabelDataset):
    """Images and the names of their labels in a CSV file.

    The classes come from the first of these that is given: the option `classes` (names, or a file
    with one per line); the sorted names of the file `classes_from`; the sorted names of this file,
    for training only. All splits must have the same classes, so validation and test sets need
    `classes` or `classes_from`. Names are sorted by code point.

    Image paths are relative to `data_root`/`data_prefix`, or to the CSV's folder if no
    `data_prefix` is given.

    Gives per image `img_path` and `gt_label`, the sorted distinct class indices, possibly none.

    Args:
        classes: class names, or the path of a file with one per line (relative to the working
            directory, as in mmpretrain).
        classes_from: the CSV of the training images, relative to `data_root`.
        keep_unlabeled: whether images with an empty label set stay.
        **kwargs: of mmpretrain's `MultiLabelDataset`.

    Raises:
        FileNotFoundError: the CSV or a class file is not there.
        ValueError: see `read_label_names`; a label is not a class; or a dataset in test mode has
            neither `classes` nor `classes_from`.
    """

    def __init__(
        self,
        ann_file: str,
        *,
        data_prefix: str | dict = "",
        classes: str | Sequence[str] | None = None,
        classes_from: str | None = None,
        keep_unlabeled: bool = True,
        **kwargs,
    ) -> None:
        self.classes_from = classes_from
        self.keep_unlabeled = keep_unlabeled
        prefix = data_prefix.get("img_path", "") if isinstance(data_prefix, dict) else data_prefix
        self.relative_to_csv = not prefix
        classes = read_class_names(classes)
        super().__init__(ann_file, data_prefix=data_prefix, classes=classes, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the CSV and turn names into class indices."""
        rows = read_label_names(self.ann_file)
        classes = self._find_classes(rows)
        self._metainfo["classes"] = classes
        class_of_name = {name: c for c, name in enumerate(classes)}
        folder = osp.dirname(self.ann_file) if self.relative_to_csv else self.img_prefix
        label_sets = []
        for image, names in rows:
            unknown = [name for name in names if name not in class_of_name]
            if unknown:
                report_fault(
                    f"labels {unknown} of {image} in {self.ann_file} are not among the "
                    f"{len(classes)} classes ({', '.join(classes[:5])}, …); "
                    "correct them or add them to the classes"
                )
            label_sets.append(
                sorted(class_of_name[name] for name in names if name in class_of_name)
            )
        images = [image for image, _ in rows]
        paths = join_paths(folder, images, self.ann_file, image_backend(self))
        return [{"img_path": path, "gt_label": labels} for path, labels in zip(paths, label_sets)]

    def filter_data(self) -> list[dict]:
        """Drop the images without a label, unless `keep_unlabeled` is set."""
        return select_images(self, self.data_list, self.keep_unlabeled, self.ann_file)

    def _find_classes(self, rows: list[tuple[str, list[str]]]) -> tuple[str, ...]:
        if self._metainfo.get("classes") is not None:
            return check_classes(self._metainfo["classes"], "the option `classes`")
        source = self.ann_file
        if self.classes_from is not None:
            source = osp.join(self.data_root or "", osp.expanduser(self.classes_from))
            rows = read_label_names(source)
        elif self.test_mode:
            raise ValueError(
                f"{self.ann_file} is not a training file, so its classes must be given; set "
                "classes_from to the training CSV, or `classes`"
            )
        return check_classes(sorted({name for _, names in rows for name in names}), source)
