"""MLA with a Transformer decoder on the digit scenes; see _base_/methods/mla_transformer.py.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/mla_transformer_digits.py
"""

_base_ = ["pla_digits.py"]
method = "mla_transformer"
