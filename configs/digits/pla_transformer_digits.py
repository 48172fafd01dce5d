"""PLA with a Transformer decoder on the digit scenes; see _base_/methods/pla_transformer.py.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/pla_transformer_digits.py
"""

_base_ = ["pla_digits.py"]
method = "pla_transformer"
