"""PLA with dropout on cells, as in the authors' code, instead of on channels of the whole map.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020.

Faithful: entries of the attended cells are dropped, and the initial state comes from the whole map.
Not faithful: one mask per rollout, where the authors' code draws one for each step.
"""

_base_ = ["pla.py"]
model = dict(head=dict(decoder=dict(drop="cells")))
keep = [
    "head.decoder.hidden_size",
    "head.decoder.embed_size",
    "head.decoder.attention_size",
    "head.decoder.dropout",
]
