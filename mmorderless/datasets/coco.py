"""Label sets from COCO's own instances files: an image's labels are its objects' categories."""

import os.path as osp
from collections.abc import Sequence

from mmpretrain.datasets import MultiLabelDataset
from mmpretrain.registry import DATASETS

from mmorderless.datasets.annotations import (
    Published,
    check_classes,
    check_keys,
    choose_classes,
    read_annotation_file,
    select_images,
)
from mmorderless.datasets.faults import repeated_items, report_fault

# By the file's name and whether unlabeled images stay.
PUBLISHED = {
    ("instances_train2014.json", False): Published("COCO train2014", 82_081, 241_035, 18),
    ("instances_train2014.json", True): Published("COCO train2014", 82_783, 241_035, 18),
    ("instances_val2014.json", False): Published("COCO val2014", 40_137),
    ("instances_val2014.json", True): Published("COCO val2014", 40_504),
}
NUM_CLASSES = 80

FORM = "give an instances file, e.g. annotations/instances_train2014.json"


def collect_label_sets(
    instances: dict, source: str, classes: Sequence[str] | None = None
) -> tuple[tuple[str, ...], list[dict]]:
    """Collect the label set of each image of an instances file.

    Args:
        instances: the file's `images` (`id`, `file_name`), `categories` (`id`, `name`) and
            `annotations`, each a pair (image id, category id). Crowd annotations count like any
            other: the published counts include them.
        source: the file, for the messages.
        classes: names of the categories to use, in the order of the classes; None for all of them
            in the order of their ids, which may have gaps.

    Returns:
        The class names, and for each image in the file's order `img_path` (its file name) and
        `gt_label` (sorted distinct class indices, possibly none).

    Raises:
        ValueError: a category or image id occurs twice or is unknown, or a class is no category.
    """
    name_of_id = {category["id"]: category["name"] for category in instances["categories"]}
    in_file = check_classes([name_of_id[i] for i in sorted(name_of_id)], source)
    if len(name_of_id) != len(instances["categories"]):
        raise ValueError(f"category ids occur twice in {source}; download it again")
    classes = choose_classes(in_file, classes, source)
    class_of_name = {name: c for c, name in enumerate(classes)}
    # −1 marks a category of the file that is not a class.
    class_of_id = {i: class_of_name.get(name, -1) for i, name in name_of_id.items()}

    labels_of_image: dict[int, set[int]] = {image["id"]: set() for image in instances["images"]}
    if len(labels_of_image) != len(instances["images"]):
        repeated = repeated_items([str(image["id"]) for image in instances["images"]])
        raise ValueError(f"image ids {repeated[:5]} occur twice in {source}; download it again")
    for name in repeated_items([image["file_name"] for image in instances["images"]]):
        report_fault(f"image {name} occurs twice in {source}; download it again")
    for image_id, category_id in instances["annotations"]:
        if image_id not in labels_of_image or category_id not in class_of_id:
            report_fault(
                f"an annotation of image {image_id} and category {category_id} has no such image "
                f"or category in {source}; download it again"
            )
            continue
        label = class_of_id[category_id]
        if label >= 0:
            labels_of_image[image_id].add(label)
    records = [
        {"img_path": image["file_name"], "gt_label": sorted(labels_of_image[image["id"]])}
        for image in instances["images"]
    ]
    return classes, records


def groups_of(categories: list[dict], classes: Sequence[str]) -> dict[str, list[int]]:
    """Return the class indices of each supercategory that the file names."""
    group_of_name = {category["name"]: category.get("supercategory") for category in categories}
    groups: dict[str, list[int]] = {}
    for c, name in enumerate(classes):
        if group_of_name[name]:
            groups.setdefault(group_of_name[name], []).append(c)
    return groups


def _slim(record: dict):
    """Reduce an annotation to (image id, category id) as soon as it is parsed.

    The polygons make up nine tenths of the file; with them, train2014 takes several gigabytes.
    """
    if "category_id" in record and "image_id" in record:
        return record["image_id"], record["category_id"]
    return record


@DATASETS.register_module()
class CocoMultiLabel(MultiLabelDataset):
    """COCO 2014 or 2017 as published: the categories of an image's objects are its labels.

    Classes are the file's categories in the order of their ids. Objects marked `iscrowd` count.
    With the defaults, train2014 has 82,081 images and val2014 has 40,137.

    Gives per image `img_path` and `gt_label`, the sorted distinct class indices, possibly none.
    `metainfo["groups"]` has the class indices of each supercategory, for figures.

    Args:
        keep_unlabeled: whether images without an object stay; the paper drops them.
        **kwargs: of mmpretrain's `MultiLabelDataset`. `ann_file` is an instances file;
            `classes` selects categories by name, in that order.

    Raises:
        FileNotFoundError: the annotation file is not there.
        ValueError: the file is not an instances file or contradicts itself.
    """

    def __init__(self, *args, keep_unlabeled: bool = False, **kwargs) -> None:
        self.keep_unlabeled = keep_unlabeled
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the instances file."""
        instances = read_annotation_file(self.ann_file, object_hook=_slim)
        check_keys(instances, ("images", "annotations", "categories"), self.ann_file, FORM)
        for category in instances["categories"]:
            check_keys(category, ("id", "name"), f"a category of {self.ann_file}", FORM)
        for image in instances["images"]:
            check_keys(image, ("id", "file_name"), f"an image of {self.ann_file}", FORM)
        for annotation in instances["annotations"]:
            if not isinstance(annotation, tuple):  # `_slim` has reduced the complete ones
                keys = ("image_id", "category_id")
                check_keys(annotation, keys, f"an annotation of {self.ann_file}", FORM)
        classes, records = collect_label_sets(
            instances, self.ann_file, self._metainfo.get("classes")
        )
        self._metainfo["classes"] = classes
        self._metainfo["groups"] = groups_of(instances["categories"], classes)
        for record in records:
            record["img_path"] = osp.join(self.img_prefix, record["img_path"])
        return records

    def filter_data(self) -> list[dict]:
        """Drop the images without a label, unless `keep_unlabeled` is set."""
        return select_images(self.data_list, self.keep_unlabeled, self.ann_file)

    @property
    def published(self) -> Published | None:
        """Counts of the full split, if the file's name identifies it."""
        if len(self._metainfo["classes"]) != NUM_CLASSES:
            return None
        return PUBLISHED.get((osp.basename(self.ann_file), self.keep_unlabeled))
