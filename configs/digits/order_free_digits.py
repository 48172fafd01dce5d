"""Order-free RNN (Chen et al. 2018) on the digit scenes; see _base_/methods/order_free.py.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/order_free_digits.py
"""

_base_ = ["pla_digits.py"]
method = "order_free"
