"""Datasets: per image its path and its set of labels."""

from .cached_features import CachedFeatures
from .coco import CocoMultiLabel
from .cropping import CropBox
from .csv_labels import CsvMultiLabel
from .dataset_part import DatasetPart
from .digit_scenes import DigitScenes
from .json_labels import JsonMultiLabel
from .loading import LoadImage
from .mirflickr import MIRFlickr25k
from .nus_wide import NusWide
from .pa100k import PA100K
from .wider_attribute import WiderAttribute

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
    "WiderAttribute",
]
