"""PLA, ResNet-50, MIRFLICKR-25000, 224×224, in one stage from ImageNet weights.

Paper: no number. Here: not run.
python tools/train.py configs/mirflickr/pla_resnet50_mirflickr.py
"""

_base_ = [
    "../_base_/models/orderless_resnet50.py",
    "../_base_/datasets/mirflickr.py",
    "../_base_/schedules/adamw.py",
    "../_base_/default_runtime.py",
]
model = dict(head=dict(num_classes=24, max_steps=25))
