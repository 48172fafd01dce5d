"""The file formats that the fuzzer damages: a valid set, our reader and a plain one for each.

The plain readers share no code with the package. They return what an undamaged file of this form
says, and raise any error for a file that does not have the form.
"""

import csv
import io
import json
import os
import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from mmengine.runner import CheckpointLoader
from mmpretrain.registry import DATASETS
from scipy.io import savemat

from fuzz.mutations import BYTES, LINES, NODES
from mmorderless.datasets.cached_features import write_split
from mmorderless.datasets.mirflickr import CONCEPTS

CLASSES = ["ant", "bee", "été", "sea lion"]
SETS = {"p/0.jpg": [0, 2], "p/1.jpg": [], "p/2.jpg": [1], "p/3.jpg": [0, 1, 3], "p/4.jpg": [3]}


def record(path: str, labels, ignored=()) -> tuple[str, list[str], list[str]]:
    """An image's path, its labels and those not judged. Windows paths are read as such."""
    return path.replace("\\", "/"), sorted(labels), sorted(ignored)


def need(*conditions: Any) -> None:
    """Raise an error for a file that does not have its form."""
    if not all(conditions):
        raise ValueError("not the form")


def is_list_of(kind: type, values: Any) -> bool:
    return type(values) is list and all(type(value) is kind for value in values)


def are_distinct(values) -> bool:
    return len(set(values)) == len(values)


def are_names(values: Any) -> bool:
    return is_list_of(str, values) and all(v.strip() for v in values) and are_distinct(values)


def plain_json(file: Path) -> Any:
    return json.loads(file.read_bytes().decode("utf-8-sig"))


def plain_lines(file: Path) -> list[str]:
    text = io.StringIO(file.read_bytes().decode("utf-8-sig"), newline=None)
    return [line.strip() for line in text if line.strip()]


class Format:
    """A valid set of files, damaged one at a time."""

    mutations = BYTES + LINES
    options: dict[str, Any] = {}

    def __init__(self) -> None:
        self.name = type(self).__name__

    def write(self, root: Path) -> None:
        """Write the valid files."""
        raise NotImplementedError

    def truth(self, root: Path) -> Any:
        """Read the files plainly, in the form of `read`."""
        raise NotImplementedError

    def read(self, root: Path) -> Any:
        """Read the files with the package: a `record` for each image."""
        config = dict(data_root=str(root), serialize_data=False)
        dataset = DATASETS.build(dict(type=self.name, **config, **self.options))
        names = dataset.metainfo["classes"]
        infos = [dataset.get_data_info(i) for i in range(len(dataset))]
        return [
            record(
                info["img_path"],
                [names[c] for c in info["gt_label"]],
                [names[c] for c in info.get("gt_ignore") or ()],
            )
            for info in infos
        ]


class JsonMultiLabel(Format):
    mutations = BYTES + LINES + NODES
    options = dict(ann_file="a.json")

    def write(self, root):
        images = [dict(img_path=path, gt_label=labels) for path, labels in SETS.items()]
        document = dict(metainfo=dict(classes=CLASSES), data_list=images)
        (root / "a.json").write_text(json.dumps(document, indent=1))

    def truth(self, root):
        document = plain_json(root / "a.json")
        classes, images = document["metainfo"]["classes"], document["data_list"]
        need(are_names(classes), is_list_of(dict, images), images)
        for image in images:
            labels = image["gt_label"]
            need(is_list_of(int, labels), are_distinct(labels))
            need(all(0 <= label < len(classes) for label in labels))
        return [
            record(os.path.join(root, image["img_path"]), [classes[c] for c in image["gt_label"]])
            for image in images
        ]


class CocoMultiLabel(Format):
    mutations = BYTES + LINES + NODES
    options = dict(ann_file="a.json", keep_unlabeled=True)

    def write(self, root):
        pairs = [(i, c) for i, labels in enumerate(SETS.values()) for c in labels]
        document = dict(
            images=[dict(id=7 + i, file_name=path) for i, path in enumerate(SETS)],
            categories=[dict(id=2 * c + 1, name=name) for c, name in enumerate(CLASSES)],
            annotations=[
                dict(id=i, image_id=7 + image, category_id=2 * c + 1, iscrowd=i % 2)
                for i, (image, c) in enumerate(pairs)
            ],
        )
        (root / "a.json").write_text(json.dumps(document, indent=1))

    def truth(self, root):
        document = plain_json(root / "a.json")
        images, categories = document["images"], document["categories"]
        annotations = document["annotations"]
        need(all(is_list_of(dict, part) for part in (images, categories, annotations)), images)
        image_ids, category_ids = ([x["id"] for x in part] for part in (images, categories))
        of_images = [annotation["image_id"] for annotation in annotations]
        used = [annotation["category_id"] for annotation in annotations]
        for ids in (image_ids, category_ids, of_images, used):
            need(is_list_of(int, ids))
        need(are_distinct(image_ids), are_distinct(category_ids))
        need(set(of_images) <= set(image_ids), set(used) <= set(category_ids))
        names = [category["name"] for category in categories]
        need(are_names(names), are_distinct([image["file_name"] for image in images]))
        labels: dict[int, set[str]] = {i: set() for i in image_ids}
        for image, category in zip(of_images, used):
            labels[image].add(names[category_ids.index(category)])
        return [record(os.path.join(root, x["file_name"]), labels[x["id"]]) for x in images]


class CsvMultiLabel(Format):
    options = dict(ann_file="a.csv")

    def write(self, root):
        rows = [f"{path},{';'.join(CLASSES[c] for c in sets)}\n" for path, sets in SETS.items()]
        text = "image,labels\n" + "".join(rows) + '"p/5, 6.jpg","ant; bee"\n'
        (root / "a.csv").write_text(text, encoding="utf-8")

    def truth(self, root):
        text = (root / "a.csv").read_bytes().decode("utf-8-sig")
        header, *rows = csv.reader(io.StringIO(text, newline=""), strict=True)
        need([cell.strip() for cell in header] == ["image", "labels"])
        rows = [[cell.strip() for cell in row] for row in rows if row]
        need(all(len(row) == 2 and row[0] for row in rows))
        need(are_distinct([path for path, _ in rows]))
        found = []
        for path, cell in rows:
            labels = [name.strip() for name in cell.split(";")] if cell else []
            need(all(labels), are_distinct(labels))
            found.append(record(os.path.join(root, path), labels))
        return found


class NusWide(Format):
    options = dict(protocol="official")
    concepts = [f"c{c}" for c in range(81)]

    def write(self, root):
        for folder in ("ConceptsList", "Groundtruth/TrainTestLabels", "ImageList"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "ConceptsList/Concepts81.txt").write_text("\n".join(self.concepts) + "\n")
        lines = [path.replace("/", "\\") for path in SETS]
        (root / "ImageList/TrainImagelist.txt").write_text("\n".join(lines) + "\n")
        for c, name in enumerate(self.concepts):
            values = [str(int(c in labels)) for labels in SETS.values()]
            file = root / f"Groundtruth/TrainTestLabels/Labels_{name}_Train.txt"
            file.write_text("\n".join(values) + "\n")

    def truth(self, root):
        concepts = plain_lines(root / "ConceptsList/Concepts81.txt")
        images = plain_lines(root / "ImageList/TrainImagelist.txt")
        need(are_names(concepts), are_names(images))
        labels: list[list[str]] = [[] for _ in images]
        for name in concepts:
            file = root / f"Groundtruth/TrainTestLabels/Labels_{name}_Train.txt"
            values = plain_lines(file)
            need(set(values) <= {"0", "1"}, len(values) == len(images))
            for of_image, value in zip(labels, values):
                of_image += [name] if value == "1" else []
        paths = [image.replace("\\", "/") for image in images]
        return [record(os.path.join(root, "Flickr", p), x) for p, x in zip(paths, labels)]


class WiderAttribute(Format):
    mutations = BYTES + LINES + NODES
    options = dict(ann_file="a.json", data_prefix="Image")

    def write(self, root):
        values = [[1, -1, 0, 1], [-1, -1, -1, -1], [0, 1, 1, -1]]
        targets = [dict(bbox=[5 * i, 2, 10, 20.5], attribute=x) for i, x in enumerate(values)]
        document = dict(
            attribute_id_map={str(c): name for c, name in enumerate(CLASSES)},
            images=[
                dict(file_name="train/0.jpg", targets=targets[:2]),
                dict(file_name="train/1.jpg", targets=targets[2:]),
            ],
        )
        (root / "a.json").write_text(json.dumps(document, indent=1))

    def truth(self, root):
        document = plain_json(root / "a.json")
        names = [document["attribute_id_map"][str(c)] for c in range(4)]
        need(are_names(names), len(document["attribute_id_map"]) == 4)
        need(is_list_of(dict, document["images"]))
        found = []
        for image in document["images"]:
            path = os.path.join(root, "Image", image["file_name"])
            need(is_list_of(dict, image["targets"]))
            for target in image["targets"]:
                values = target["attribute"]
                x, y, width, height = target["bbox"]
                need(is_list_of(int, values), len(values) == 4, set(values) <= {-1, 0, 1})
                need(all(type(n) in (int, float) and abs(n) < 1e9 for n in target["bbox"]))
                if max(x, 0) < x + width and max(y, 0) < y + height:
                    chosen = ([n for n, v in zip(names, values) if v == k] for k in (1, 0))
                    found.append(record(path, *chosen))
        need(found)
        return found


class MIRFlickr25k(Format):
    options = dict(numbers=(1, 20))

    def write(self, root):
        (root / "annotations").mkdir(exist_ok=True)
        for c, name in enumerate(CONCEPTS):
            numbers = [n for n in range(1, 31) if n % 25 == c or n % 7 == c]
            text = "".join(f"{n}\n" for n in numbers)
            (root / f"annotations/{name}.txt").write_text(text)

    def truth(self, root):
        labels: dict[int, list[str]] = {n: [] for n in range(1, 21)}
        for name in CONCEPTS:
            lines = plain_lines(root / f"annotations/{name}.txt")
            numbers = [int(line) for line in lines]
            need(numbers, are_distinct(numbers))
            need(all(line.isascii() and line.isdecimal() for line in lines))
            need(all(1 <= n <= 25_000 for n in numbers))
            for n in set(numbers) & set(labels):
                labels[n].append(name)
        return [record(f"{root}/mirflickr/im{n}.jpg", x) for n, x in labels.items()]


class VocMultiLabel(Format):
    options = dict(classes=CLASSES)

    def write(self, root):
        for folder in ("ImageSets/Main", "Annotations"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        (root / "ImageSets/Main/trainval.txt").write_text("000001\n000002\n000003\n")
        for image, labels in enumerate(([0, 0, 3], [], [1, 2]), start=1):
            objects = [
                f"  <object>\n    <name>{CLASSES[c]}</name>\n    <difficult>{i % 2}</difficult>\n"
                f"    <bndbox>\n      <xmin>{c}</xmin>\n    </bndbox>\n  </object>\n"
                for i, c in enumerate(labels)
            ]
            text = f"<annotation>\n{''.join(objects)}</annotation>\n"
            (root / f"Annotations/{image:06d}.xml").write_text(text, encoding="utf-8")

    def truth(self, root):
        images = plain_lines(root / "ImageSets/Main/trainval.txt")
        need(are_names(images), not any(len(image.split()) > 1 for image in images))
        found = []
        for image in images:
            tree = ElementTree.parse(root / f"Annotations/{image}.xml").getroot()
            sets: dict[str, set[str]] = {"0": set(), "1": set()}
            for element in tree.findall("object"):
                name = element.find("name").text.strip()
                sets[element.findtext("difficult", "0").strip()].add(name)
                need(name in CLASSES)
            found.append(record(f"{root}/JPEGImages/{image}.jpg", sets["0"], sets["1"] - sets["0"]))
        return found


class PA100K(Format):
    """The file is not compressed, so that damage is not found by a checksum."""

    mutations = BYTES
    options = dict(split="trainval")

    def write(self, root):
        def cells(texts):
            return np.array(texts, dtype=object)[:, None]

        sets = np.array([[c in x for c in range(4)] for x in SETS.values() if x], np.uint8)
        content = dict(attributes=cells(CLASSES))
        for i, split in enumerate(("train", "val", "test")):
            names = [f"{10 * i + row:06d}.jpg" for row in range(len(sets))]
            content |= {f"{split}_images_name": cells(names), f"{split}_label": sets}
        savemat(root / "annotation.mat", content, do_compression=False)

    def truth(self, root):
        data = (root / "annotation.mat").read_bytes()
        need(data[124:128] == b"\0\1IM")
        content = dict(_matrix(payload) for payload in _elements(data[128:]))
        names = content["attributes"]
        need(are_names(names))
        rows = []
        for split in ("train", "val", "test"):
            images = content[f"{split}_images_name"]
            labels = np.reshape(content[f"{split}_label"], (len(names), len(images))).T
            need(set(labels.ravel()) <= {0, 1}, labels.any(1).all())
            rows += [(n, [names[c] for c in np.flatnonzero(x)]) for n, x in zip(images, labels)]
        need(are_distinct([image for image, _ in rows]))
        rows = rows[: len(rows) - len(content["test_images_name"])]
        return [record(os.path.join(root, "data", image), labels) for image, labels in rows]


def _elements(data: bytes) -> list[bytes]:
    """Payloads of the data elements of a MATLAB 5 file, little-endian, not compressed."""
    payloads, at = [], 0
    while at < len(data):
        kind, size = struct.unpack_from("<II", data, at)
        start = at + 8
        if kind >> 16:  # a small element: the size is in the upper half, the payload follows
            start, size = at + 4, kind >> 16
        need(start + size <= len(data), (kind & 0xFFFF) in (1, 2, 4, 5, 6, 14, 16))
        payloads.append(data[start : start + size])
        at = start + size + -(start + size) % 8
    return payloads


def _matrix(payload: bytes) -> tuple[str, Any]:
    """Name and content of an array: a list of texts, a text, or bytes in MATLAB's column order."""
    flags, dims, name, *content = _elements(payload)
    size, kind = np.prod(np.frombuffer(dims, "<i4")), flags[0]
    need(kind in (1, 4, 9))
    if kind == 1:
        need(len(content) == size)
        return name.decode(), [_matrix(cell)[1] for cell in content]
    if kind == 4:
        text = content[0].decode()
        need(len(text) == size, "\0" not in text)
        return name.decode(), text
    need(len(content[0]) == size)
    return name.decode(), np.frombuffer(content[0], np.uint8)


class CachedFeatures(Format):
    """Every change must be found: the truth is what was written."""

    mutations = BYTES
    features = np.arange(5 * 12).reshape(5, 3, 2, 2).astype(np.float32)

    def write(self, root):
        images = [dict(img_path=path, gt_label=labels) for path, labels in SETS.items()]
        write_split(root, "val", "key", images, CLASSES, [self.features])

    def truth(self, root):
        sets = SETS.items()
        return [([path, labels], x.tolist()) for (path, labels), x in zip(sets, self.features)]

    def read(self, root):
        dataset = DATASETS.build(dict(type=self.name, cache=str(root), split="val"))
        samples = [(item["inputs"], item["data_samples"]) for item in dataset]
        return [([s.img_path, s.gt_label.tolist()], x.tolist()) for x, s in samples]


class Checkpoint(Format):
    """Every change must be found: the truth is what was written."""

    mutations = BYTES
    content = {"meta": {"epoch": 3}, "state_dict": {"w": torch.arange(64.0), "b": torch.ones(2)}}

    def write(self, root):
        torch.save(self.content, root / "epoch_3.pth")

    def truth(self, root):
        weights = self.content["state_dict"]
        return self.content["meta"], {name: x.tolist() for name, x in weights.items()}

    def read(self, root):
        content = CheckpointLoader.load_checkpoint(str(root / "epoch_3.pth"), map_location="cpu")
        return content["meta"], {name: x.tolist() for name, x in content["state_dict"].items()}


FORMATS = [
    *(JsonMultiLabel(), CocoMultiLabel(), CsvMultiLabel(), NusWide(), WiderAttribute()),
    *(MIRFlickr25k(), VocMultiLabel(), PA100K(), CachedFeatures(), Checkpoint()),
]
