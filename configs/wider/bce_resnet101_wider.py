"""Stage 1 of 3, the BCE encoder: ResNet-101, WIDER Attribute, 224×224.

Paper: gives no number for this stage. Here: not run (no GPU, no images).
Hardware: one GPU; memory and time not measured. All stages by one command: README.md.
python tools/train.py configs/wider/bce_resnet101_wider.py
"""

_base_ = [
    "../_base_/models/bce_resnet101.py",
    "../_base_/datasets/wider_attribute.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
model = dict(head=dict(num_classes=14))
