"""Stage 1 of 3, the encoder with BCE: ResNet-101, COCO 2014, 288×288.

Paper: no number. Here: not run.
python tools/train.py configs/coco/bce_resnet101_coco.py
"""

_base_ = [
    "../_base_/models/bce_resnet101.py",
    "../_base_/datasets/coco.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
