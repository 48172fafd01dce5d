"""Datasets: for each image its path and its set of labels.

A new dataset: subclass `base.LabelSetDataset`, implement `load_data_list` (a dict with `img_path`
and `gt_label` for each image), register it in mmpretrain's DATASETS, and import it here;
`json_labels.py` is the shortest example, and helpers are in `annotations.py`. Then write a base
config in `configs/_base_/datasets`.
"""

from mmorderless.datasets.cached_features import CachedFeatures
from mmorderless.datasets.coco import CocoMultiLabel
from mmorderless.datasets.cropping import CropBox
from mmorderless.datasets.csv_labels import CsvMultiLabel
from mmorderless.datasets.digit_scenes import DigitScenes
from mmorderless.datasets.json_labels import JsonMultiLabel
from mmorderless.datasets.loading import LoadImage
from mmorderless.datasets.mirflickr import MIRFlickr25k
from mmorderless.datasets.nus_wide import NusWide
from mmorderless.datasets.pa100k import PA100K
from mmorderless.datasets.partition import DatasetPart
from mmorderless.datasets.voc import VocMultiLabel
from mmorderless.datasets.wider_attribute import WiderAttribute

__all__ = [
    "PA100K",
    "CachedFeatures",
    "CocoMultiLabel",
    "CropBox",
    "CsvMultiLabel",
    "DatasetPart",
    "DigitScenes",
    "JsonMultiLabel",
    "LoadImage",
    "MIRFlickr25k",
    "NusWide",
    "VocMultiLabel",
    "WiderAttribute",
]
