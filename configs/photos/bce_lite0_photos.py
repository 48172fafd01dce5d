"""Stage 1 of 3, the BCE encoder: EfficientNet-Lite0, your photos at 128×128.

Paper: does not have this dataset. Here: README.md, Results.
Hardware: one GPU (not measured); shortened, 80 minutes on a CPU, see README.md.
python tools/train.py configs/photos/bce_lite0_photos.py
Elsewhere than data/photos: --cfg-options train_dataloader.dataset.data_root=DIR
val_dataloader.dataset.data_root=DIR test_dataloader.dataset.data_root=DIR
"""

_base_ = [
    "../_base_/models/bce_lite0.py",
    "../_base_/datasets/photos.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
