"""Stage 1 of 3, the encoder with BCE: VGG16, NUS-WIDE, 224×224.

Paper: no number. Here: not run.
python tools/train.py configs/nuswide/bce_vgg16_nuswide.py
"""

_base_ = [
    "../_base_/models/bce_vgg16.py",
    "../_base_/datasets/nuswide.py",
    "../_base_/schedules/sgd.py",
    "../_base_/default_runtime.py",
]
model = dict(head=dict(num_classes=81))
