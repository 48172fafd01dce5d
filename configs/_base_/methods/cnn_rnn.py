"""CNN-RNN: labels and images in one embedding space, common labels first, beam search.

Jiang Wang, Yi Yang, Junhua Mao, Zhiheng Huang, Chang Huang, Wei Xu: "CNN-RNN: A Unified Framework
for Multi-label Image Classification", CVPR 2016.

Faithful: the decoder's equations, the order, the true labels fed back while training (teacher
forcing), beam search. Not faithful: what `JointEmbeddingRNN` says of the recurrent unit and the
image; the beam's width (4) and END, which are chosen here; the config's own sizes, backbone and
schedule.
"""

_base_ = ["frequent_first.py"]
model = dict(
    head=dict(
        feed="target",
        decoder=dict(_delete_=True, type="JointEmbeddingRNN"),
        decoding=dict(_delete_=True, beam_width=4),
    )
)
