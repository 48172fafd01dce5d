"""PLA without attention on the digit scenes; see _base_/methods/pla_no_attention.py.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/pla_no_attention_digits.py
"""

_base_ = ["pla_digits.py"]
method = "pla_no_attention"
