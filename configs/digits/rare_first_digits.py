"""Rare-first order on the embedded digit scenes.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/rare_first_digits.py
"""

_base_ = ["pla_digits.py"]
model = dict(head=dict(strategy="rare_first"))
