"""Order search: orders are drawn uniformly at first, then as the model prefers them.

Oriol Vinyals, Samy Bengio, Manjunath Kudlur: "Order Matters: Sequence to Sequence for Sets", ICLR
2016.

Faithful: 1,000 uniform steps (section 5.2), then orders sampled from the model. Not verified:
whether the sampling normalizes step by step, as here (see `OrderSearchLoss`), or over whole orders.
Not faithful: the model and decoding are PLA's; Vinyals et al. tried the search on 5-gram language
modeling only.
"""

_base_ = ["pla.py"]
model = dict(head=dict(loss=dict(type="OrderSearchLoss")))
