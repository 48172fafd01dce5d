"""BCE, a small CNN, digit scenes, 48×48; its encoder is where the other systems start.

Paper: no number. Here: C-F1 82.69, O-F1 94.10 (16 epochs).
python tools/train.py configs/digits/bce_digits.py
"""

_base_ = [
    "../_base_/models/bce_digits.py",
    "../_base_/datasets/digits.py",
    "../_base_/schedules/adam_digits.py",
    "../_base_/default_runtime.py",
]
