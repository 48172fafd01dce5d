"""Pascal VOC as published: an XML file per image with its objects."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence

from mmpretrain.datasets import VOC
from mmpretrain.registry import DATASETS

from mmorderless.datasets.annotations import check_classes
from mmorderless.datasets.base import LabelSetDataset
from mmorderless.datasets.faults import repeated_items, report_cut_end, report_errors, report_fault
from mmorderless.datasets.json_values import shown
from mmorderless.datasets.text_files import read_bytes, read_text

LAYOUT = "set data_root to the folder with Annotations/, ImageSets/ and JPEGImages/"
DAMAGED = "it may be incomplete: download it again"
ROOT = "annotation"
DIFFICULT = ([], [""], ["0"], ["1"])


def read_image_set(path: str) -> list[str]:
    """Read the names of a split's images, one per line; no line end at the end is a doubt.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: not UTF-8, a line is not one name, or an image is listed twice.
    """
    text = read_text(path, LAYOUT)
    report_cut_end(text, path)
    names = []
    for i, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if len(words) == 1 and "\0" not in line:
            names += words
        elif words:
            report_fault(
                f"{path}, line {i}: must be the name of an image, got {shown(line)}; give a list "
                "such as ImageSets/Main/trainval.txt"
            )
    for name in repeated_items(names):
        report_fault(f"image {name} is listed twice in {path}; list each once")
    return list(dict.fromkeys(names))


def read_objects(path: str) -> list[tuple[str, bool]]:
    """Read an image's objects: the name of the class, and whether it is marked as difficult.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: it is not XML of this kind, an object has not one name, or its `difficult` is
            not 0 or 1.
    """
    content = read_bytes(path, LAYOUT)
    try:
        root = ET.fromstring(content)
    except (ET.ParseError, ValueError, LookupError) as error:  # LookupError: unknown encoding
        raise ValueError(f"{path} is not valid XML ({error}); {DAMAGED}") from None
    if root.tag != ROOT:
        raise ValueError(f"{path} must have the root <{ROOT}>, got {shown(root.tag)}; {DAMAGED}")
    return [_read_object(element, path) for element in root.iterfind("object")]


def _read_object(element: ET.Element, path: str) -> tuple[str, bool]:
    names, difficult, nested = (
        [(child.text or "").strip() for child in element.iterfind(tag)]
        for tag in ("name", "difficult", "object")
    )
    if len(names) != 1 or not names[0] or nested or difficult not in DIFFICULT:
        raise ValueError(
            f"{path}: an object must have one name, and 0 or 1 if it is difficult, got {names} and "
            f"{difficult}; correct it or download it again"
        )
    return names[0], difficult == ["1"]


@DATASETS.register_module()
class VocMultiLabel(LabelSetDataset, VOC):
    """mmpretrain's `VOC` with its files checked; difficult objects are not judged.

    A class of which an image has only difficult objects is in `gt_ignore`, and so left out of mAP,
    as by Pascal's own evaluation and `VOCAveragePrecision`. In training and in every other metric
    it counts as negative. An object without `difficult` is not difficult.

    Args:
        **kwargs: of `LabelSetDataset` and mmpretrain's `VOC`. `classes` are some of Pascal's 20, or
            those of another dataset in this form.

    Raises:
        FileNotFoundError: a list of images or an XML file is not there.
        ValueError: a file is damaged, or objects have names that are not classes.
    """

    @property
    def source(self) -> str:
        """File with the names of the split's images."""
        return self.image_set_path

    def load_data_list(self) -> list[dict]:
        """Read the list of images and their XML files."""
        classes = check_classes(self._metainfo["classes"], "the option `classes`")
        if self.ann_prefix is None:
            raise ValueError(
                f"data_prefix of {type(self).__name__} lacks ann_path; set it to the folder of the "
                "XML files, such as Annotations"
            )
        objects_of_image = {}
        for image in read_image_set(self.image_set_path):
            with report_errors():
                objects_of_image[image] = read_objects(self._xml_file(image))
        self._check_names(objects_of_image, classes)
        records = []
        for image, objects in objects_of_image.items():
            labels = {name for name, difficult in objects if not difficult}
            ignored = {name for name, _ in objects} - labels
            records.append(
                {
                    "img_path": self.backend.join_path(self.img_prefix, f"{image}.jpg"),
                    "gt_label": [c for c, name in enumerate(classes) if name in labels],
                    "gt_ignore": [c for c, name in enumerate(classes) if name in ignored],
                }
            )
        return records

    def _xml_file(self, image: str) -> str:
        return self.backend.join_path(self.ann_prefix, f"{image}.xml")

    def _check_names(
        self, objects_of_image: dict[str, list[tuple[str, bool]]], classes: Sequence[str]
    ) -> None:
        """Report objects of other classes; those of Pascal that are not chosen may occur."""
        pascal = self.METAINFO["classes"]
        known = pascal if set(classes) <= set(pascal) else classes
        image_of_name: dict[str, str] = {}
        for image, objects in objects_of_image.items():
            for name, _ in objects:
                if name not in known:
                    image_of_name.setdefault(name, image)
        if image_of_name:
            first = self._xml_file(next(iter(image_of_name.values())))
            report_fault(
                f"{self.ann_prefix} has objects named {shown(list(image_of_name))} (the first in "
                f"{first}), which are not among the classes {shown(sorted(known))}; list the names "
                "in `classes`"
            )
