"""RIA (Jin & Nakayama 2016) on the digit scenes; see _base_/methods/ria.py.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/ria_digits.py
"""

_base_ = ["pla_digits.py"]
method = "ria"
