"""CNN-RNN: labels and images in one embedding space, common labels first, beam search.

Jiang Wang, Yi Yang, Junhua Mao, Zhiheng Huang, Chang Huang, Wei Xu: "CNN-RNN: A Unified Framework
for Multi-label Image Classification", CVPR 2016.

Faithful: the decoder's equations, without biases; the order; END; the beam search, whose ended
paths leave the beam and which stops when all others are less probable (`open_beam_search`). Teacher
forcing is inferred, not said in the paper. Not faithful: the recurrent unit and how the image
enters (`JointEmbeddingRNN`); a CNN that learns along, where theirs is frozen; the optimizer, theirs
is RMSprop; the beam width (4), which is chosen here; the config's own sizes, backbone and schedule.

Published (percent; C-P, C-R, C-F1, O-P, O-R, O-F1), VGG16: COCO 66.00, 55.60, 60.40, 69.20, 66.40,
67.80; NUS-WIDE 40.50, 30.40, 34.70, 49.90, 61.70, 55.20.
"""

_base_ = ["frequent_first.py"]
model = dict(
    head=dict(
        decoder=dict(type="JointEmbeddingRNN"),
        loss=dict(teacher_forcing=True),
        decoding=dict(_delete_=True, beam_width=4, open_beam=True),
    )
)
keep = ["head.decoder.hidden_size", "head.decoder.embed_size", "head.decoder.dropout"]
