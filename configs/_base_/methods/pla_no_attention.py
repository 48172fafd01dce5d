"""PLA without attention, as in most rows of the paper's Table 2.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020.

Faithful: the image is known to the LSTM from its first state alone. Not said there: which rows have
no attention is read off the table's labels.
"""

_base_ = ["pla.py"]
model = dict(head=dict(attention_size=None))
