"""Frequent-first, a row of the paper's Tables 1 and 2: common labels come first.

Vacit Oguz Yazici, Abel Gonzalez-Garcia, Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer:
"Orderless Recurrent Models for Multi-label Classification", CVPR 2020. The order is that of Wang et
al. 2016, whose system is `cnn_rnn.py`.

Faithful: the paper's comparison, in which the order alone differs from PLA; the model is fed its
own predictions while training. Not faithful, or not said there: labels of equal count are ordered
by name.
"""

model = dict(
    head=dict(
        type="OrderlessRNNHead",
        strategy="frequent_first",
        feed="own",
        loss=None,
        decoder=None,
        decoding=None,
    )
)
