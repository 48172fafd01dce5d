"""Label sets from the JSON of mmpretrain's `MultiLabelDataset`."""

from typing import Any

from mmpretrain.registry import DATASETS

from mmorderless.datasets.annotations import (
    check_classes,
    check_label_set,
)
from mmorderless.datasets.base import LabelSetDataset
from mmorderless.datasets.faults import report_doubt, report_errors
from mmorderless.datasets.image_paths import image_backend, join_paths
from mmorderless.datasets.json_values import check_keys, check_list, check_text, shown
from mmorderless.datasets.text_files import read_annotation_file

FORM = (
    "write {'metainfo': {'classes': [names]}, "
    "'data_list': [{'img_path': path, 'gt_label': [indices]}]}"
)


@DATASETS.register_module()
class JsonMultiLabel(LabelSetDataset):
    """mmpretrain's `MultiLabelDataset` with its annotation file checked.

    The file: `{"metainfo": {"classes": [names]}, "data_list": [{"img_path": path, "gt_label":
    [class indices]}]}`. Image paths are relative to `data_root`/`data_prefix`. The option `classes`
    replaces the file's class names, as in mmpretrain, but cannot change their number or order. An
    image may have a list `ignore`, or `gt_ignore`, of classes that are not judged in it.

    Args:
        **kwargs: of `LabelSetDataset`.

    Raises:
        FileNotFoundError: the annotation file is not there.
        ValueError: the file does not have this form, or a label is out of range or occurs twice.
    """

    def load_data_list(self) -> list[dict]:
        """Read and check the annotation file."""
        annotations = read_annotation_file(self.ann_file)
        check_keys(annotations, ("metainfo", "data_list"), self.ann_file, FORM)
        check_keys(annotations["metainfo"], (), f"metainfo of {self.ann_file}", FORM)
        self._metainfo["classes"] = self._merge_classes(annotations["metainfo"])
        for key, value in annotations["metainfo"].items():
            self._metainfo.setdefault(key, value)
        data_list = check_list(annotations["data_list"], f"data_list of {self.ann_file}", FORM)
        images = []
        for i, record in enumerate(data_list):
            with report_errors():
                what = f"data_list[{i}] of {self.ann_file}"
                check_keys(record, ("img_path", "gt_label"), what, FORM)
                check_text(record["img_path"], f"img_path of {what}", FORM)
                images.append(record)
        names = [image["img_path"] for image in images]
        paths = join_paths(self.img_prefix, names, self.ann_file, image_backend(self))
        return [self._check_labels(image, path) for image, path in zip(images, paths)]

    def _check_labels(self, image: dict, path: str) -> dict[str, Any]:
        name, num_classes = image["img_path"], len(self._metainfo["classes"])
        labels = check_label_set(image["gt_label"], num_classes, name, self.ann_file)
        record = {**image, "img_path": path, "gt_label": labels}
        for key in ("gt_ignore", "ignore"):
            if key in record:
                ignored = check_label_set(
                    record.pop(key), num_classes, name, self.ann_file, "ignored classes"
                )
                record["gt_ignore"] = [c for c in ignored if c not in labels]
        return record

    def _merge_classes(self, file_metainfo: dict) -> tuple[str, ...]:
        in_file = file_metainfo.get("classes")
        if in_file is not None:
            check_list(in_file, f"classes of {self.ann_file}", FORM)
        classes = check_classes(self._metainfo.get("classes", in_file), self.ann_file)
        if in_file is not None and len(in_file) != len(classes):
            raise ValueError(
                f"`classes` names {len(classes)} classes, {self.ann_file} has {len(in_file)}; "
                "name each class, or remove `classes`"
            )
        moved = [a for a, b in zip(classes, in_file or classes) if a != b and a in in_file]
        if moved:
            report_doubt(
                f"`classes` has {shown(moved)} at other positions than {self.ann_file}, so its "
                "labels, which are positions, get other names; keep the file's order"
            )
        return classes
