"""Label sets from the JSON of mmpretrain's `MultiLabelDataset`."""

import os.path as osp

from mmpretrain.datasets import MultiLabelDataset
from mmpretrain.registry import DATASETS

from mmorderless.datasets.annotations import (
    check_classes,
    check_keys,
    check_label_set,
    has_keys,
    read_annotation_file,
    select_images,
)

FORM = (
    "write {'metainfo': {'classes': [names]}, "
    "'data_list': [{'img_path': path, 'gt_label': [indices]}]}"
)


@DATASETS.register_module()
class JsonMultiLabel(MultiLabelDataset):
    """mmpretrain's `MultiLabelDataset` with its annotation file checked.

    The file: `{"metainfo": {"classes": [names]}, "data_list": [{"img_path": path, "gt_label":
    [class indices]}]}`. Image paths are relative to `data_root`/`data_prefix`. The option `classes`
    replaces the file's class names, as in mmpretrain, but cannot change their number.

    Gives per image `img_path` and `gt_label`, the sorted distinct class indices, possibly none.

    Args:
        keep_unlabeled: whether images with an empty label set stay.
        **kwargs: of mmpretrain's `MultiLabelDataset`.

    Raises:
        FileNotFoundError: the annotation file is not there.
        ValueError: the file does not have this form, or a label is out of range or occurs twice.
    """

    def __init__(self, *args, keep_unlabeled: bool = True, **kwargs) -> None:
        self.keep_unlabeled = keep_unlabeled
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read and check the annotation file."""
        annotations = read_annotation_file(self.ann_file)
        check_keys(annotations, ("metainfo", "data_list"), self.ann_file, FORM)
        self._metainfo["classes"] = self._merge_classes(annotations["metainfo"])
        for key, value in annotations["metainfo"].items():
            self._metainfo.setdefault(key, value)
        what = f"an image of {self.ann_file}"
        return [
            self.parse_data_info(record)
            for record in annotations["data_list"]
            if has_keys(record, ("img_path", "gt_label"), what, FORM)
        ]

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Complete an image's path and check its labels."""
        image = raw_data_info["img_path"]
        return {
            **raw_data_info,
            "img_path": osp.join(self.img_prefix, image),
            "gt_label": check_label_set(
                raw_data_info["gt_label"], len(self._metainfo["classes"]), image, self.ann_file
            ),
        }

    def filter_data(self) -> list[dict]:
        """Drop the images without a label, unless `keep_unlabeled` is set."""
        return select_images(self.data_list, self.keep_unlabeled, self.ann_file)

    def _merge_classes(self, file_metainfo: dict) -> tuple[str, ...]:
        in_file = file_metainfo.get("classes")
        classes = check_classes(self._metainfo.get("classes", in_file), self.ann_file)
        if in_file is not None and len(in_file) != len(classes):
            raise ValueError(
                f"`classes` names {len(classes)} classes, {self.ann_file} has {len(in_file)}; "
                "name each class, or remove `classes`"
            )
        return classes
