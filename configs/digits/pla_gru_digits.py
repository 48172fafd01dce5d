"""PLA with a GRU on the digit scenes; see _base_/methods/pla_gru.py.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/pla_gru_digits.py
"""

_base_ = ["pla_digits.py"]
method = "pla_gru"
