"""Stage 2 of 3, encoder and decoder with PLA: EfficientNet-Lite0, your photos, 128×128.

Paper: no number. Here: C-F1 63.44, O-F1 74.20, duplicates 1.16, time 32 min (3 of 30 epochs).
python tools/train.py configs/photos/pla_lite0_photos.py --cfg-options load_from=FILE
FILE: work_dirs/bce_lite0_photos/best_set_OF1_epoch_N.pth, the best checkpoint of stage 1.
README.md has options for your photos, and the earlier settings that the numbers were measured with.
"""

_base_ = [
    "../_base_/models/orderless_lite0.py",
    "../_base_/datasets/photos.py",
    "../_base_/schedules/swa.py",
]
