"""Stage 1 of 3, the encoder with BCE: ResNet-50, PA-100K, 224×224.

Paper: no number. Here: not run.
python tools/train.py configs/pa100k/bce_resnet50_pa100k.py
"""

_base_ = [
    "../_base_/models/bce_resnet50.py",
    "../_base_/datasets/pa100k.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
model = dict(head=dict(num_classes=26))
