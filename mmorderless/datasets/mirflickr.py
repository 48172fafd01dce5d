"""MIRFLICKR-25000 as published: a file per concept with the numbers of its images."""

import io
import os.path as osp
from collections.abc import Sequence

from mmpretrain.registry import DATASETS

from mmorderless.datasets.annotations import choose_classes
from mmorderless.datasets.base import LabelSetDataset
from mmorderless.datasets.faults import repeated_items, report_cut_end, report_fault
from mmorderless.datasets.json_values import shown
from mmorderless.datasets.text_files import read_text

NUM_IMAGES = 25_000
CONCEPTS = (
    *("animals", "baby", "bird", "car", "clouds", "dog", "female", "flower", "food", "indoor"),
    *("lake", "male", "night", "people", "plant_life", "portrait", "river", "sea", "sky"),
    *("structures", "sunset", "transport", "tree", "water"),
)
"""The 24 concepts; an image has the label if the concept is potentially visible."""
RELEVANT = (
    *("baby", "bird", "car", "clouds", "dog", "female", "flower", "male", "night", "people"),
    *("portrait", "river", "sea", "tree"),
)
"""The 14 concepts with a second, stricter annotation: the concept is relevant to the image."""


def read_numbers(path: str) -> list[int]:
    """Read image numbers, one per line; a last line without a line end is a doubt.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: not UTF-8; a line is not a number in 1 … 25000, a number occurs twice, or there
            is none.
    """
    text = read_text(path)
    report_cut_end(text, path)
    numbers = []
    lines = io.StringIO(text, newline=None)
    for i, line in enumerate(map(str.strip, lines), start=1):
        if line.isdecimal() and len(line) < 10 and 1 <= int(line) <= NUM_IMAGES:
            numbers.append(int(line))
        elif line:
            report_fault(
                f"{path}, line {i}: must be an image number in 1 … {NUM_IMAGES}, got "
                f"{shown(line)}; correct it or download it again"
            )
    for number in repeated_items([str(number) for number in numbers]):
        report_fault(f"{path}: image {number} occurs twice; list each once")
    if not numbers:
        raise ValueError(f"{path} has no image number; it may be incomplete: download it again")
    return numbers


@DATASETS.register_module()
class MIRFlickr25k(LabelSetDataset):
    """MIRFLICKR-25000, read from the original annotation folder.

    `ann_file` is the folder with `<concept>.txt` (24 concepts: potentially visible) and
    `<concept>_r1.txt` (14 of them: relevant); the images are `im<number>.jpg`. `numbers` selects
    the images of a split; the shipped config trains on 1 … 15000 and tests on 15001 … 25000.

    Args:
        data_root: folder of the dataset.
        numbers: the first and the last image, both included, or a file with one image number per
            line, relative to `data_root`.
        concepts: 24, or 38 with the 14 stricter annotations as classes of their own (`baby_r1`).
        ann_file: folder of the annotation, relative to `data_root`.
        data_prefix: folder of the images, relative to `data_root`.
        **kwargs: of `LabelSetDataset`.

    Raises:
        FileNotFoundError: an annotation file is not there.
        ValueError: an unknown option, or a line that is not an image number.
    """

    def __init__(
        self,
        data_root: str = "",
        numbers: Sequence[int] | str = (1, NUM_IMAGES),
        concepts: int = 24,
        ann_file: str = "annotations",
        data_prefix: str | dict = "mirflickr",
        **kwargs,
    ) -> None:
        if not isinstance(numbers, str) and not (
            isinstance(numbers, Sequence)
            and [type(number) for number in numbers] == [int, int]
            and 1 <= numbers[0] <= numbers[1] <= NUM_IMAGES
        ):
            raise ValueError(
                f"numbers must be a file or the first and last image in 1 … {NUM_IMAGES}, got "
                f"{numbers!r}"
            )
        if concepts not in (len(CONCEPTS), len(CONCEPTS) + len(RELEVANT)):
            raise ValueError(f"MIRFLICKR-25000 has 24 or 38 concepts, got concepts={concepts}")
        self.concepts = concepts
        self.numbers = numbers
        super().__init__(ann_file, data_root=data_root, data_prefix=data_prefix, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the annotation folder and select the images."""
        stricter = [f"{name}_r1" for name in RELEVANT]
        names = CONCEPTS if self.concepts == len(CONCEPTS) else sorted((*CONCEPTS, *stricter))
        classes = choose_classes(names, self._metainfo.get("classes"), "MIRFLICKR-25000")
        self._metainfo["classes"] = classes
        if isinstance(self.numbers, str):
            chosen = read_numbers(osp.join(self.data_root, self.numbers))
        else:
            chosen = list(range(self.numbers[0], self.numbers[1] + 1))
        labels_of_image: dict[int, list[int]] = {number: [] for number in chosen}
        for c, name in enumerate(classes):
            for number in set(read_numbers(osp.join(self.ann_file, f"{name}.txt"))):
                if number in labels_of_image:
                    labels_of_image[number].append(c)
        return [
            {"img_path": osp.join(self.img_prefix, f"im{number}.jpg"), "gt_label": labels}
            for number, labels in labels_of_image.items()
        ]
