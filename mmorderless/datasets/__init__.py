"""Datasets: per image its path and its set of labels."""

from .cached_features import CachedFeatures
from .coco import CocoMultiLabel
from .csv_labels import CsvMultiLabel
from .digit_scenes import DigitScenes
from .json_labels import JsonMultiLabel
from .loading import LoadImage

__all__ = [
    "CachedFeatures",
    "CocoMultiLabel",
    "CsvMultiLabel",
    "DigitScenes",
    "JsonMultiLabel",
    "LoadImage",
]
