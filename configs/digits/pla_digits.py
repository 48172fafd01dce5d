"""PLA on the embedded digit scenes.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/pla_digits.py
"""

_base_ = [
    "../_base_/models/orderless_digits.py",
    "../_base_/datasets/digits.py",
    "../_base_/schedules/adam_digits.py",
    "../_base_/default_runtime.py",
]
