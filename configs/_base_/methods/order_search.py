"""Order search: all orders are equally likely at first, then the model draws those it prefers.

Oriol Vinyals, Samy Bengio, Manjunath Kudlur: "Order Matters: Sequence to Sequence for Sets", ICLR
2016.

Faithful and not: see `OrderSearchLoss`; besides, the paper's own model and decoding (PLA's), where
Vinyals et al. had other tasks and models.
"""

_base_ = ["pla.py"]
model = dict(head=dict(strategy=None, loss=dict(_delete_=True, type="OrderSearchLoss")))
