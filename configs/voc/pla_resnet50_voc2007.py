"""PLA, ResNet-50, Pascal VOC 2007, 224×224, in one stage from ImageNet weights.

Paper: no number. Here: not run.
python tools/train.py configs/voc/pla_resnet50_voc2007.py
"""

_base_ = [
    "../_base_/models/orderless_resnet50.py",
    "../_base_/datasets/voc2007.py",
    "../_base_/schedules/adamw.py",
    "../_base_/default_runtime.py",
]
model = dict(head=dict(num_classes=20, max_steps=21))
