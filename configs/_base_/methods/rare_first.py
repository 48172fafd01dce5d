"""Rare-first, a row of the paper's Tables 1 and 2: rare labels come first.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020. The order is that of Jin &
Nakayama 2016, whose system is `ria.py`.

What is faithful and what is not: as in `frequent_first.py`.
"""

_base_ = ["pla.py"]
model = dict(head=dict(loss=dict(type="FixedOrderLoss", order="rare_first")))
