"""OCD (Tsai & Lee 2020) on the digit scenes; see _base_/methods/ocd.py.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/ocd_digits.py
"""

_base_ = ["pla_digits.py"]
method = "ocd"
