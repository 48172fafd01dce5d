"""Order search: orders are drawn uniformly at first, then as the model prefers them.

Oriol Vinyals, Samy Bengio, Manjunath Kudlur: "Order Matters: Sequence to Sequence for Sets", ICLR
2016.

What is faithful and what is not: see `OrderSearchLoss`. Also not faithful: the model and decoding
are PLA's; Vinyals et al. had other tasks and models.
"""

_base_ = ["pla.py"]
model = dict(head=dict(loss=dict(type="OrderSearchLoss")))
