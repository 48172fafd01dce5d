"""PLA on the cached maps of a frozen EfficientNet-Lite0; the other strategies by one option.

Paper: does not have this dataset. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/cache_features.py configs/photos/pla_lite0_photos.py --out data/photos_features
python tools/train.py configs/photos/pla_lite0_photos_cached.py \\
    --cfg-options model.head.strategy=mla
"""

_base_ = [
    "../_base_/models/orderless_lite0.py",
    "../_base_/datasets/cached_photos.py",
    "../_base_/schedules/adam_frozen.py",
    "../_base_/default_runtime.py",
]
model = dict(backbone=dict(_delete_=True, type="FeaturePassThrough"))
