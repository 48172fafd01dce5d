"""Frequent-first order on the embedded digit scenes.

python tools/train.py configs/frequent_first_digits.py
"""

_base_ = ["pla_digits.py"]
model = dict(head=dict(strategy="frequent_first"))
