"""CSRA (Zhu & Wu 2021) on the digit scenes; see _base_/methods/csra.py.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/csra_digits.py
"""

_base_ = ["pla_digits.py"]
method = "csra"
