"""CNN-RNN: labels and images in one embedding space, common labels first, beam search.

Jiang Wang, Yi Yang, Junhua Mao, Zhiheng Huang, Chang Huang, Wei Xu: "CNN-RNN: A Unified Framework
for Multi-label Image Classification", CVPR 2016.

Faithful: the decoder's equations, the order, teacher forcing, beam search. Not faithful: the
recurrent unit and how the image enters (see `JointEmbeddingRNN`); the beam width (4) and END, which
are chosen here; the config's own sizes, backbone and schedule.
"""

_base_ = ["frequent_first.py"]
model = dict(
    head=dict(
        decoder=dict(type="JointEmbeddingRNN"),
        loss=dict(teacher_forcing=True),
        decoding=dict(_delete_=True, beam_width=4),
    )
)
keep = ["head.decoder.hidden_size", "head.decoder.embed_size", "head.decoder.dropout"]
