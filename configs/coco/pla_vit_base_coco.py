"""PLA, ViT-B/16, COCO 2014, 288×288, in one stage from ImageNet weights.

Paper: no number. Here: not run.
python tools/train.py configs/coco/pla_vit_base_coco.py
"""

_base_ = [
    "../_base_/models/orderless_vit_base.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/adamw.py",
    "../_base_/default_runtime.py",
]
data_preprocessor = dict(mean=[127.5, 127.5, 127.5], std=[127.5, 127.5, 127.5])
