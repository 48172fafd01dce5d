"""Dictionary order, a row of the paper's Tables 1 and 2: labels are sorted by their names.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020. The order is that of Jin &
Nakayama 2016, whose system is `ria.py`.

Faithful: as in the paper's comparison, only the order differs from PLA; in training the model is
fed its own predictions.
"""

_base_ = ["pla.py"]
model = dict(head=dict(loss=dict(type="FixedOrderLoss", order="dictionary")))
