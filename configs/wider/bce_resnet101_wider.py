"""Stage 1 of 3, the encoder with BCE: ResNet-101, WIDER Attribute, 224×224.

Paper: no number. Here: not run.
python tools/train.py configs/wider/bce_resnet101_wider.py
"""

_base_ = [
    "../_base_/models/bce_resnet101.py",
    "../_base_/datasets/wider_attribute.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
model = dict(head=dict(num_classes=14))
