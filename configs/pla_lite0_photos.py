"""PLA, EfficientNet-Lite0, your photos at 128×128, end to end.

python tools/train.py configs/pla_lite0_photos.py
Elsewhere than data/photos: --cfg-options train_dataloader.dataset.data_root=DIR
val_dataloader.dataset.data_root=DIR test_dataloader.dataset.data_root=DIR
"""

_base_ = [
    "_base_/models/orderless_lite0.py",
    "_base_/datasets/photos.py",
    "_base_/schedules/adam.py",
    "_base_/default_runtime.py",
]
