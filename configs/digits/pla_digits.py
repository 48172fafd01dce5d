"""PLA, a small CNN, digit scenes, 48×48; the other systems with method=NAME as a further option.

Paper: no number. Here: C-F1 91.35, O-F1 95.47, duplicates 0.10 (16 epochs from bce_digits).
python tools/train.py configs/digits/pla_digits.py --cfg-options load_from=FILE
FILE: work_dirs/bce_digits/epoch_16.pth, the BCE encoder.
"""

_base_ = [
    "../_base_/models/orderless_digits.py",
    "../_base_/datasets/digits.py",
    "../_base_/schedules/adam_digits.py",
    "../_base_/default_runtime.py",
]
