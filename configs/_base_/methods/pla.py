"""PLA, predicted label alignment: the paper's first method.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020; Eq. 5.

Faithful: model, loss and decoding. Not in the paper: dropout on the attended cells, which the
authors' code has; here its mask is drawn once a rollout, not once a step.
"""

model = dict(
    head=dict(
        type="OrderlessRNNHead",
        strategy="pla",
        feed="own",
        loss=None,
        decoder=None,
        decoding=None,
    )
)
