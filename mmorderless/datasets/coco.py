"""Label sets from COCO's own instances files: an image's labels are its objects' categories."""

import os.path as osp
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mmengine.logging import print_log
from mmpretrain.registry import DATASETS

from mmorderless.datasets.annotations import (
    Published,
    choose_classes,
)
from mmorderless.datasets.base import LabelSetDataset
from mmorderless.datasets.faults import repeated_items, report_errors, report_fault
from mmorderless.datasets.image_paths import image_backend, join_paths
from mmorderless.datasets.json_values import (
    check_id,
    check_keys,
    check_list,
    check_text,
    id_kind,
    shown,
)
from mmorderless.datasets.text_files import read_annotation_file

# By the file's name; images without a label count.
PUBLISHED = {
    "instances_train2014.json": Published("COCO train2014", 82_783, 241_035, 18),
    "instances_val2014.json": Published("COCO val2014", 40_504),
}
NUM_CLASSES = 80
IGNORE_VALUES = (0, 1)

FORM = "give an instances file, e.g. annotations/instances_train2014.json"


def check_categories(categories: Any, source: str) -> list[dict]:
    """Check a file's categories and return them in the order of their ids.

    Raises:
        ValueError: not a list of `id` and `name`, ids of different types, or an id occurs twice.
    """
    for i, category in enumerate(check_list(categories, f"categories of {source}", FORM)):
        what = f"categories[{i}] of {source}"
        check_keys(category, ("id", "name"), what, FORM)
        check_text(category["name"], f"name of {what}", FORM)
    ids = [category["id"] for category in categories]
    kind = id_kind(ids)
    for i, value in enumerate(ids):
        check_id(value, kind, f"id of categories[{i}] of {source}")
    if repeated := repeated_items(ids):
        raise ValueError(
            f"category ids {repeated[:5]} occur twice in {source}; give each category its own"
        )
    return sorted(categories, key=lambda category: category["id"])


def drop_roots(
    categories: list[dict], annotated: set[int | str], chosen: Sequence[str] | None, source: str
) -> list[dict]:
    """Leave out the categories that only group others, and log their names.

    Roboflow adds a category that is the supercategory of the others and has no annotation; it may
    have the name of a class.

    Args:
        categories: of the file.
        annotated: ids of the categories that have an annotation.
        chosen: the option `classes`; with it only a category that shares its name is left out.
        source: the file, for the log.
    """
    members = Counter(str(category.get("supercategory")) for category in categories)
    sharing = Counter(category["name"] for category in categories)
    roots = {
        category["id"]: name
        for category in categories
        if category["id"] not in annotated
        and members[name := category["name"]] > (category.get("supercategory") == name)
        and (chosen is None or sharing[name] > 1)
    }
    if roots:
        print_log(
            f"{source}: left out the categories {list(roots.values())}, which group others and "
            "have no annotation",
            logger="current",
        )
    return [category for category in categories if category["id"] not in roots]


def groups_of(categories: list[dict], classes: Sequence[str]) -> dict[str, list[int]]:
    """Return the class indices of each supercategory that the file names."""
    group_of_name = {category["name"]: category.get("supercategory") for category in categories}
    groups: dict[str, list[int]] = {}
    for c, name in enumerate(classes):
        group = group_of_name[name]
        if group and isinstance(group, str):
            groups.setdefault(group, []).append(c)
    return groups


def check_images(images: Any, source: str) -> list[dict]:
    """Check a file's images and return the correct ones.

    Raises:
        ValueError: not a list of `id` and `file_name`, ids of different types, or one occurs twice.
    """
    images = check_list(images, f"images of {source}", FORM)
    kind = id_kind([image["id"] for image in images if isinstance(image, dict) and "id" in image])
    checked = []
    for i, image in enumerate(images):
        with report_errors():
            what = f"images[{i}] of {source}"
            check_keys(image, ("id", "file_name"), what, FORM)
            check_text(image["file_name"], f"file_name of {what}", FORM)
            check_id(image["id"], kind, f"id of {what}")
            checked.append(image)
    if repeated := repeated_items([image["id"] for image in checked]):
        raise ValueError(
            f"image ids {repeated[:5]} occur twice in {source}; give each image its own"
        )
    for name in repeated_items([image["file_name"] for image in checked]):
        report_fault(f"image {name} occurs twice in {source}; list it once")
    return checked


def collect_label_sets(
    images: list[dict], annotations: list, class_of_id: Mapping[int | str, int], source: str
) -> list[dict[str, list[int]]]:
    """Collect the label set of each image of an instances file.

    Args:
        images: each with an `id`.
        annotations: each (image id, category id, ignore). Crowd annotations count like any other:
            the published counts include them. With `ignore` 1, the category is not judged in the
            image, unless another annotation makes it a label.
        class_of_id: class index of each category id, −1 for a category that is not a class.
        source: the file, for the messages.

    Returns:
        Per image `gt_label`, sorted distinct class indices, possibly none; and `gt_ignore`, the
        same of the classes that are not judged, where there are any.

    Raises:
        ValueError: an annotation has an unknown image or category, or a value of a wrong type.
    """
    labels_of_image: dict[int | str, set[int]] = {image["id"]: set() for image in images}
    ignored_of_image: dict[int | str, set[int]] = {}
    for i, annotation in enumerate(annotations):
        what = f"annotations[{i}] of {source}"
        try:
            check_annotation(annotation, labels_of_image, class_of_id, what)
        except ValueError as error:
            report_fault(str(error))
            continue
        image_id, category_id, ignore = annotation
        label = class_of_id[category_id]
        if label < 0:
            continue
        if ignore:
            ignored_of_image.setdefault(image_id, set()).add(label)
        else:
            labels_of_image[image_id].add(label)
    records = []
    for image_id, labels in labels_of_image.items():
        records.append({"gt_label": sorted(labels)})
        if image_id in ignored_of_image:
            records[-1]["gt_ignore"] = sorted(ignored_of_image[image_id] - labels)
    return records


def check_annotation(
    annotation: Any, image_ids: Collection, category_ids: Collection, what: str
) -> None:
    """Raise a ValueError when an annotation is not (image id, category id, ignore) of the file."""
    if not isinstance(annotation, tuple):  # `_slim` has reduced the complete ones
        check_keys(annotation, ("image_id", "category_id"), what, FORM)
    image_id, category_id, ignore = annotation
    for key, value, known in (
        ("image_id", image_id, image_ids),
        ("category_id", category_id, category_ids),
    ):
        check_id(value, type(next(iter(known), 0)), f"{key} of {what}")
        if value not in known:
            raise ValueError(
                f"{key} of {what} is {shown(value)}, which the file does not list; correct it, or "
                "remove the annotation"
            )
    if ignore not in IGNORE_VALUES:
        raise ValueError(f"ignore of {what} must be 0 or 1, got {shown(ignore)}; correct it")


def _slim(record: dict):
    """Reduce an annotation to (image id, category id, ignore) as soon as it is parsed.

    The polygons make up nine tenths of the file; with them, train2014 takes several gigabytes.
    """
    if "category_id" in record and "image_id" in record:
        return record["image_id"], record["category_id"], record.get("ignore", 0)
    return record


@DATASETS.register_module()
class CocoMultiLabel(LabelSetDataset):
    """COCO 2014 or 2017 as published: the categories of an image's objects are its labels.

    Classes are the file's categories in the order of their ids. Objects marked `iscrowd` count;
    the categories of those marked `ignore` are not judged. A category that is the supercategory of
    another and has no annotation is left out, unless `classes` names it. With the defaults,
    train2014 has 82,081 images and val2014 has 40,137. `metainfo["groups"]` has the class indices
    of each supercategory, for figures.

    Args:
        keep_unlabeled: whether images without an object stay; the paper drops them.
        **kwargs: of `LabelSetDataset`. `ann_file` is an instances file.

    Raises:
        FileNotFoundError: the annotation file is not there.
        ValueError: the file is not an instances file or contradicts itself.
    """

    def __init__(self, *args, keep_unlabeled: bool = False, **kwargs) -> None:
        super().__init__(*args, keep_unlabeled=keep_unlabeled, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the instances file."""
        source, chosen = self.ann_file, self._metainfo.get("classes")
        instances = read_annotation_file(source, object_hook=_slim)
        check_keys(instances, ("images", "annotations", "categories"), source, FORM)
        annotations = check_list(instances["annotations"], f"annotations of {source}", FORM)
        annotated = {
            a[1] for a in annotations if isinstance(a, tuple) and isinstance(a[1], int | str)
        }
        categories = check_categories(instances["categories"], source)
        categories = drop_roots(categories, annotated, chosen, source)
        classes = choose_classes([category["name"] for category in categories], chosen, source)
        self._metainfo["classes"] = classes
        self._metainfo["groups"] = groups_of(categories, classes)
        class_of_name = {name: c for c, name in enumerate(classes)}
        class_of_id = {
            category["id"]: class_of_name.get(category["name"], -1) for category in categories
        }
        images = check_images(instances["images"], source)
        names = [image["file_name"] for image in images]
        paths = join_paths(self.img_prefix, names, source, image_backend(self))
        label_sets = collect_label_sets(images, annotations, class_of_id, source)
        return [{"img_path": path, **labels} for path, labels in zip(paths, label_sets)]

    @property
    def published(self) -> Published | None:
        """Counts of the full split, if the file's name identifies it."""
        if len(self._metainfo["classes"]) != NUM_CLASSES:
            return None
        return PUBLISHED.get(osp.basename(self.ann_file))
