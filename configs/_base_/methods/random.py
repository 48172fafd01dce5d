"""Random order, a row of the paper's Table 1: drawn anew each time an image is seen.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020.

Faithful: the order alone differs from PLA; the model is fed its own predictions while training.
"""

model = dict(
    head=dict(
        type="OrderlessRNNHead",
        strategy="random",
        feed="own",
        loss=None,
        decoder=None,
        decoding=None,
    )
)
