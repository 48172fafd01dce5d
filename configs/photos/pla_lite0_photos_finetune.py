"""Stage 3 of 3, PLA, the decoder alone: EfficientNet-Lite0, your photos at 128×128.

Paper: does not have this dataset. Here: README.md, Results.
Hardware: one GPU (not measured); shortened, 80 minutes on a CPU, see README.md.
python tools/train.py configs/photos/pla_lite0_photos_finetune.py --cfg-options load_from=FILE
FILE: work_dirs/pla_lite0_photos/epoch_30.pth, stage 2's averaged weights.
Elsewhere than data/photos: the options of bce_lite0_photos.py.
"""

_base_ = [
    "../_base_/models/orderless_lite0.py",
    "../_base_/datasets/photos.py",
    "../_base_/schedules/finetune.py",
    "../_base_/default_runtime.py",
]
model = dict(type="LabelSetClassifier", freeze_encoder=True)
