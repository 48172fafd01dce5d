"""WIDER Attribute as published: attributes of the persons in a photo, each with a box."""

import math
import os.path as osp
import struct
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import mmengine.fileio as fileio
from mmpretrain.registry import DATASETS
from PIL import Image

from mmorderless.datasets.annotations import (
    Published,
    choose_classes,
)
from mmorderless.datasets.base import LabelSetDataset
from mmorderless.datasets.cropping import clip_box
from mmorderless.datasets.faults import report_errors, report_fault
from mmorderless.datasets.image_paths import image_backend, is_local, join_paths
from mmorderless.datasets.json_values import check_keys, check_list, check_text, shown
from mmorderless.datasets.text_files import READ_ERRORS, read_annotation_file

FORM = "give the original file, e.g. Anno/wider_attribute_trainval.json"
POSITIVE, NEGATIVE, UNSPECIFIED = 1, -1, 0
NUM_ATTRIBUTES = 14
MAX_PIXELS = 1e9  # of a box; its corners stay finite
ORIENTATION, SIDEWAYS = 0x0112, (5, 6, 7, 8)  # EXIF: the tag, and its values that swap the sides
# Persons, boxes without area included, as the paper gives them.
PUBLISHED = {
    "wider_attribute_trainval.json": Published(
        "WIDER Attribute trainval", 28_345, approximate=True
    ),
    "wider_attribute_test.json": Published("WIDER Attribute test", 29_179, approximate=True),
}


def attribute_names(annotation: dict, source: str) -> list[str]:
    """Return the file's attribute names in the order of their ids 0 … 13.

    Raises:
        ValueError: the ids are not 0, 1, 2, …, or a name is not text.
    """
    name_of_id, what = annotation["attribute_id_map"], f"attribute_id_map of {source}"
    check_keys(name_of_id, (), what, FORM)
    ids = [str(i) for i in range(len(name_of_id))]
    check_keys(name_of_id, ids, what, FORM)
    return [check_text(name_of_id[i], f"name {i} of {what}", FORM) for i in ids]


def corners(bbox: Any, image: str, source: str) -> tuple[float, float, float, float] | None:
    """Convert [x, y, width, height] into (left, top, right, bottom), in pixels.

    A fault is reported, and None returned, if it is not four numbers of pixels.
    """
    is_box = isinstance(bbox, list) and len(bbox) == 4
    if not is_box or not all(type(x) in (int, float) and abs(x) <= MAX_PIXELS for x in bbox):
        report_fault(
            f"a box of {image} must be [x, y, width, height], got {shown(bbox)} in {source}; "
            "download it again"
        )
        return None
    x, y, width, height = (float(number) for number in bbox)
    return x, y, x + width, y + height


def check_attributes(values: Any, num_attributes: int, image: str, source: str) -> list[int]:
    """Check a person's attributes, each 1, −1 or 0; a wrong one is reported and counts as −1."""
    if not isinstance(values, list) or len(values) != num_attributes:
        report_fault(
            f"a person of {image} must have {num_attributes} attributes, got {shown(values)} in "
            f"{source}; download it again"
        )
        return [NEGATIVE] * num_attributes
    known = (POSITIVE, NEGATIVE, UNSPECIFIED)
    are_known = [type(value) in (int, float) and value in known for value in values]
    if not all(are_known):
        report_fault(
            f"attributes of a person of {image} must be 1, -1 or 0, got {shown(values)} in "
            f"{source}; download it again"
        )
    return [value if is_known else NEGATIVE for value, is_known in zip(values, are_known)]


def image_size(path: str, backend_args: dict | None = None) -> tuple[float, float]:
    """Read an image's height and width in pixels from its header, in the orientation of loading.

    OpenCV rotates a picture by its EXIF orientation. Both are infinite if the file cannot be read:
    loading it reports what is wrong. A remote file is read in full.

    Args:
        path: the image.
        backend_args: storage backend of `mmengine.fileio`.
    """
    try:
        local = is_local(path, backend_args)
        file = path if local else BytesIO(fileio.get(path, backend_args=backend_args))
        with Image.open(file) as picture:
            width, height = picture.size
            # Pillow may decode the pixels of other formats to find the orientation.
            rotated = picture.format == "JPEG" and _orientation(picture) in SIDEWAYS
    except (*READ_ERRORS, Image.DecompressionBombError):
        return math.inf, math.inf
    return (width, height) if rotated else (height, width)


def _orientation(picture: Image.Image) -> int | None:
    try:
        return picture.getexif().get(ORIENTATION)
    except (SyntaxError, struct.error):  # damaged EXIF, which OpenCV ignores
        return None


@DATASETS.register_module()
class WiderAttribute(LabelSetDataset):
    """WIDER Attribute: 14 attributes of a person; each person's box is an example.

    Boxes are clipped to their image, for which loading the dataset reads the headers of all images.
    Boxes without area inside the image are dropped, and their number is logged. Put `CropBox` after
    the loading of the image.

    An attribute that is not specified (0) is in `gt_ignore`, and so left out of mAP. In training
    and in every other metric it counts as negative, as in the literature.

    Gives per person also `box` (left, top, right, bottom in pixels).

    Args:
        data_root: folder of the dataset.
        ann_file: the original JSON file, relative to `data_root`.
        data_prefix: folder of the images, relative to `data_root`.
        **kwargs: of `LabelSetDataset`; an example is a person.

    Raises:
        FileNotFoundError: the annotation file is not there.
        ValueError: the file does not have the original form.
    """

    def __init__(
        self,
        data_root: str = "",
        ann_file: str = "Anno/wider_attribute_trainval.json",
        data_prefix: str | dict = "Image",
        **kwargs,
    ) -> None:
        super().__init__(ann_file, data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the annotation file and clip the boxes."""
        annotation = read_annotation_file(self.ann_file)
        check_keys(annotation, ("images", "attribute_id_map"), self.ann_file, FORM)
        names = attribute_names(annotation, self.ann_file)
        classes = choose_classes(names, self._metainfo.get("classes"), self.ann_file)
        self._metainfo["classes"] = classes
        attribute_of_class = [names.index(name) for name in classes]
        images = self._check_images(annotation["images"])
        paths = join_paths(
            self.img_prefix,
            [image["file_name"] for image in images],
            self.ann_file,
            image_backend(self),
        )
        records = [
            record
            for image, path in zip(images, paths)
            for record in self._persons(image, path, len(names), attribute_of_class)
        ]
        kept = [record for record in records if record["box"] is not None]
        self.note_dropped("boxes without area", len(records) - len(kept))
        return kept

    def _check_images(self, images: Any) -> list[dict]:
        checked = []
        for i, image in enumerate(check_list(images, f"images of {self.ann_file}", FORM)):
            with report_errors():
                what = f"images[{i}] of {self.ann_file}"
                check_keys(image, ("file_name", "targets"), what, FORM)
                name = check_text(image["file_name"], f"file_name of {what}", FORM)
                check_list(image["targets"], f"targets of {name} in {self.ann_file}", FORM)
                checked.append(image)
        return checked

    def _persons(
        self, image: dict, path: str, num_attributes: int, attribute_of_class: Sequence[int]
    ) -> list[dict]:
        name = image["file_name"]
        size = image_size(path, image_backend(self))
        persons = []
        for target in image["targets"]:
            with report_errors():
                what = f"a person of {name} in {self.ann_file}"
                check_keys(target, ("bbox", "attribute"), what, FORM)
                box = corners(target["bbox"], name, self.ann_file)
                values = check_attributes(target["attribute"], num_attributes, name, self.ann_file)
                value_of_class = [values[attribute] for attribute in attribute_of_class]
                if box is None:
                    continue
                persons.append(
                    {
                        "img_path": path,
                        "box": clip_box(box, *size),
                        "gt_label": [c for c, x in enumerate(value_of_class) if x == POSITIVE],
                        "gt_ignore": [c for c, x in enumerate(value_of_class) if x == UNSPECIFIED],
                    }
                )
        return persons

    @property
    def published(self) -> Published | None:
        """Counts of the full split, if the file's name identifies it."""
        if len(self._metainfo["classes"]) != NUM_ATTRIBUTES:
            return None
        return PUBLISHED.get(osp.basename(self.ann_file))
