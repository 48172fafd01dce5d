"""Stage 3 of 3, the decoder alone with PLA: EfficientNet-Lite0, your photos, 128×128.

Paper: no number. Here: C-F1 63.57, O-F1 74.38, duplicates 1.64, time 7 min (2 of 5 epochs).
python tools/train.py configs/photos/pla_lite0_photos_finetune.py --cfg-options load_from=FILE
FILE: work_dirs/pla_lite0_photos/epoch_30.pth, the averaged weights of stage 2.
README.md has options for your photos, and the earlier settings that the numbers were measured with.
"""

_base_ = [
    "../_base_/models/orderless_lite0.py",
    "../_base_/datasets/photos.py",
    "../_base_/schedules/finetune.py",
    "../_base_/default_runtime.py",
]
model = dict(type="LabelSetClassifier", freeze_encoder=True)
