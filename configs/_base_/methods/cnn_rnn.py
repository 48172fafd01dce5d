"""CNN-RNN: labels and images in one embedding space, common labels first, beam search.

Jiang Wang, Yi Yang, Junhua Mao, Zhiheng Huang, Chang Huang, Wei Xu: "CNN-RNN: A Unified Framework
for Multi-label Image Classification", CVPR 2016.

Faithful: the decoder's equations, the order, the true labels fed back while training (teacher
forcing), beam search. Not faithful: what `JointEmbeddingRNN` says of the recurrent unit and the
image; the beam's width (4) and END, which are chosen here; the config's own sizes, backbone and
schedule.
"""

model = dict(
    head=dict(
        type="OrderlessRNNHead",
        strategy="frequent_first",
        feed="target",
        decoder=dict(type="JointEmbeddingRNN"),
        decoding=dict(beam_width=4),
    )
)
