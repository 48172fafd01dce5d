"""PLA, predicted label alignment: the paper's first method.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020; Eq. 5.

Faithful: loss, feedback and decoding; the model, as the authors' code has it where it differs from
the paper's words: the initial state comes from the mean of the map, the attention has ReLU and a
gate for each channel. Not in the paper: dropout. The authors' code drops entries of the attended
cells (`pla_cells.py`); here channels of the whole map are dropped, before the initial state.
"""

model = dict(
    head=dict(
        type="OrderlessRNNHead",
        decoder=dict(type="AttentionLSTM"),
        loss=dict(type="PLALoss"),
        strategy=None,
        decoding=None,
    )
)
keep = [
    "head.decoder.hidden_size",
    "head.decoder.embed_size",
    "head.decoder.attention_size",
    "head.decoder.dropout",
    "head.decoder.drop",
]
