"""Frequent-first, a row of the paper's Tables 1 and 2: common labels come first.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020. The order is that of Wang et
al. 2016, whose system is `cnn_rnn.py`.

Faithful: as in the paper's comparison, only the order differs from PLA; in training the model is
fed its own predictions. Chosen here: labels of equal count are ordered by name.
"""

_base_ = ["pla.py"]
model = dict(head=dict(loss=dict(type="FixedOrderLoss", order="frequent_first")))
