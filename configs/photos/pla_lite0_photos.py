"""Stage 2 of 3, PLA, encoder and decoder: EfficientNet-Lite0, your photos.

Paper: does not have this dataset. Here: README.md, Results.
Hardware: one GPU (not measured); shortened, 80 minutes on a CPU, see README.md.
python tools/train.py configs/photos/pla_lite0_photos.py --cfg-options load_from=FILE
FILE: work_dirs/bce_lite0_photos/best_set_OF1_epoch_N.pth, the best BCE encoder.
Elsewhere than data/photos: the options of bce_lite0_photos.py.
"""

_base_ = [
    "../_base_/models/orderless_lite0.py",
    "../_base_/datasets/photos.py",
    "../_base_/schedules/swa.py",
]
