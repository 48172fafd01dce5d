"""Stage 1 of 3, the BCE encoder: ResNet-50, PA-100K, 224×224.

Paper: gives no number for this stage. Here: not run (no GPU, a part of the images).
Hardware: one GPU; memory and time not measured. All stages by one command: README.md.
python tools/train.py configs/pa100k/bce_resnet50_pa100k.py
"""

_base_ = [
    "../_base_/models/bce_resnet50.py",
    "../_base_/datasets/pa100k.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
model = dict(head=dict(num_classes=26))
