"""Rare-first order on the embedded digit scenes.

python tools/train.py configs/rare_first_digits.py
"""

_base_ = ["pla_digits.py"]
model = dict(head=dict(strategy="rare_first"))
