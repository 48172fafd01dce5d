"""Dictionary order on the embedded digit scenes.

python tools/train.py configs/dictionary_digits.py
"""

_base_ = ["pla_digits.py"]
model = dict(head=dict(strategy="dictionary"))
