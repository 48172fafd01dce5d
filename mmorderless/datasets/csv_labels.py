"""Label sets from a CSV file: names in a column `labels`, or a 0/1 column per class."""

import os.path as osp

from mmpretrain.registry import DATASETS

from mmorderless.datasets.annotations import check_classes
from mmorderless.datasets.base import LabelSetDataset
from mmorderless.datasets.csv_files import LabelTable, read_label_table, report_doubtful_names
from mmorderless.datasets.faults import report_fault
from mmorderless.datasets.image_paths import image_backend, join_paths
from mmorderless.datasets.json_values import shown


@DATASETS.register_module()
class CsvMultiLabel(LabelSetDataset):
    """Images and the names of their labels in a CSV file; see `read_label_table` for its form.

    The classes come from the first of these that is given: the option `classes` (names, or a file
    with one per line); the file `classes_from`; this file, for training only. All splits must have
    the same classes, so validation and test sets need `classes` or `classes_from`. A file with a
    column per class gives the classes in the order of the columns, another one its names, sorted by
    code point.

    Image paths are relative to `data_root`/`data_prefix`, or to the CSV's folder if no
    `data_prefix` is given.

    Args:
        classes_from: the CSV of the training images, relative to `data_root`.
        **kwargs: of `LabelSetDataset`.

    Raises:
        FileNotFoundError: the CSV or a class file is not there.
        ValueError: see `read_label_table`; a label is not a class; or a dataset in test mode has
            neither `classes` nor `classes_from`.
    """

    def __init__(
        self,
        ann_file: str,
        *,
        data_prefix: str | dict = "",
        classes_from: str | None = None,
        **kwargs,
    ) -> None:
        self.classes_from = classes_from
        prefix = data_prefix.get("img_path", "") if isinstance(data_prefix, dict) else data_prefix
        self.relative_to_csv = not prefix
        super().__init__(ann_file, data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the CSV and turn names into class indices."""
        table = read_label_table(self.ann_file)
        classes = self._find_classes(table)
        self._metainfo["classes"] = classes
        class_of_name = {name: c for c, name in enumerate(classes)}
        folder = osp.dirname(self.ann_file) if self.relative_to_csv else self.img_prefix
        images = [row.image for row in table.rows]
        paths = join_paths(folder, images, self.ann_file, image_backend(self))
        records = []
        for path, row in zip(paths, table.rows):
            unknown = [name for name in (*row.labels, *row.ignored) if name not in class_of_name]
            if unknown:
                report_fault(
                    f"labels {shown(unknown)} of {row.image} in {self.ann_file} are not among the "
                    f"{len(classes)} classes ({', '.join(classes[:5])}, …); "
                    "correct them or add them to the classes"
                )
            labels, ignored = (
                sorted(class_of_name[name] for name in names if name in class_of_name)
                for names in (row.labels, row.ignored)
            )
            record = {"img_path": path, "gt_label": labels}
            if table.has_ignore:
                record["gt_ignore"] = [c for c in ignored if c not in labels]
            records.append(record)
        return records

    def _find_classes(self, table: LabelTable) -> tuple[str, ...]:
        if self._metainfo.get("classes") is not None:
            return check_classes(self._metainfo["classes"], "the option `classes`")
        source = self.ann_file
        if self.classes_from is not None:
            source = osp.join(self.data_root or "", osp.expanduser(self.classes_from))
            table = read_label_table(source)
        elif self.test_mode:
            raise ValueError(
                f"{self.ann_file} is not a training file, so its classes must be given; set "
                "classes_from to the training CSV, or `classes`"
            )
        report_doubtful_names(table.classes, source)
        return check_classes(table.classes, source)
