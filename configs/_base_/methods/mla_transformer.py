"""MLA with a Transformer decoder, a variant that the paper does not have.

MLA: Yazici et al., CVPR 2020 (`mla.py`). The decoder: Vaswani et al., NIPS 2017, as in
`pla_transformer.py`, which says what is faithful and what is not.
"""

_base_ = ["pla_transformer.py"]
model = dict(head=dict(loss=dict(type="MLALoss")))
