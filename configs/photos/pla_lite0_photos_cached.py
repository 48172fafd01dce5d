"""PLA on the cached maps of a frozen EfficientNet-Lite0, your photos, 128×128.

Paper: no number. Here: C-F1 66.37, O-F1 75.77, duplicates 0.46 (12 epochs, mean of five seeds).
python tools/cache_features.py configs/photos/pla_lite0_photos.py --out data/photos_features
python tools/train.py configs/photos/pla_lite0_photos_cached.py
The other systems: --cfg-options method=NAME.
"""

_base_ = [
    "../_base_/models/orderless_lite0.py",
    "../_base_/datasets/cached_photos.py",
    "../_base_/schedules/adam_frozen.py",
    "../_base_/default_runtime.py",
]
model = dict(backbone=dict(_delete_=True, type="FeaturePassThrough"))
