"""Order search (Vinyals et al. 2016) on the digit scenes; see _base_/methods/order_search.py.

Paper: does not have these scenes. Here: README.md, Results.
Hardware: two CPU cores, minutes; see README.md.
python tools/train.py configs/digits/order_search_digits.py
"""

_base_ = ["pla_digits.py"]
method = "order_search"
