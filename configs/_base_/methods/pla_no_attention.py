"""PLA without attention, as in most rows of the paper's Table 2.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020.

Faithful: the LSTM sees the image only through its initial state. Which rows have no attention is
not clear: the text says that all sequence models attend unless stated otherwise, the label of the
table's last row, "PLA (atten.)", that only this one does. The label is followed here.
"""

_base_ = ["pla.py"]
model = dict(head=dict(decoder=dict(attention_size=None)))
keep = [
    "head.decoder.hidden_size",
    "head.decoder.embed_size",
    "head.decoder.dropout",
    "head.decoder.drop",
]
