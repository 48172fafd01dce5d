"""Random order, a row of the paper's Table 1: drawn again each time an image is seen.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020.

Faithful: only the order differs from PLA; in training the model is fed its own predictions.
"""

_base_ = ["pla.py"]
model = dict(head=dict(loss=dict(type="FixedOrderLoss", order="random")))
