"""PLA, Swin-T, COCO 2014, 288×288, in one stage from ImageNet weights.

Paper: no number. Here: not run.
python tools/train.py configs/coco/pla_swin_tiny_coco.py
"""

_base_ = [
    "../_base_/models/orderless_swin_tiny.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/adamw.py",
    "../_base_/default_runtime.py",
]
