"""MLA, minimal loss alignment: the paper's second method.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020; Eq. 4.

What is faithful and what is not: as in `pla.py`.
"""

_base_ = ["pla.py"]
model = dict(head=dict(loss=dict(type="MLALoss")))
