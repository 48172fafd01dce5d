"""Order-free RNN: at each step a probability for every label; no order, no END, beam search.

Shang-Fu Chen, Yi-Chen Chen, Chih-Kuan Yeh, Yu-Chiang Frank Wang: "Order-Free RNN with Visual
Attention for Multi-Label Classification", AAAI 2018.

As independent re-implementations agree (the authors' code was not found): every step is trained on
the full label set, up to the longest of the training data; its input is the attended context, the
probabilities of the step before (first those of an image-level classifier, which has a loss of its
own) and the labels emitted so far; decoding is a beam search that stops by a threshold on the
product of the emitted probabilities (one of them: their geometric mean); no label can be repeated.
Not verified: everything else (`OrderFreeRNN`). Chosen here: the threshold of 0.1 (at 0.5, sets of
digit scenes lacked a label), which the comparison moves like an END bias, and a beam of 4;
`pred_score` is the largest probability over the steps. Not faithful: the config's own sizes,
backbone and schedule.

Published (percent; C-P, C-R, C-F1, O-P, O-R, O-F1): COCO, ResNet-152, 71.60, 54.80, 62.10, 74.20,
62.20, 67.70; NUS-WIDE, VGG16, 59.40, 50.70, 54.70, 69.00, 71.40, 70.20.
"""

_base_ = ["pla.py"]
model = dict(
    head=dict(
        decoder=dict(type="OrderFreeRNN"),
        loss=dict(type="OrderFreeLoss"),
        decoding=dict(_delete_=True, path_threshold=0.1, beam_width=4, no_repeat=True),
    )
)
keep = [
    "head.decoder.hidden_size",
    "head.decoder.attention_size",
    "head.decoder.dropout",
    "head.decoder.drop",
]
