"""PLA, predicted label alignment: the paper's first method.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020; Eq. 5.

Faithful: model, loss and decoding. Not in the paper, but in the authors' code: dropout on the
attended cells. Here its mask is drawn once per rollout instead of once per step.
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
