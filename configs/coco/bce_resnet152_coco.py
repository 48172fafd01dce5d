"""Stage 1 of 3, the encoder with BCE: ResNet-152, COCO 2014, 224×224.

Paper: no number. Here: not run.
python tools/train.py configs/coco/bce_resnet152_coco.py
"""

_base_ = [
    "../_base_/models/bce_resnet152.py",
    "../_base_/datasets/coco_224.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
