"""OCD: optimal completion distillation for label sets.

Che-Ping Tsai, Hung-Yi Lee: "Order-Free Learning Alleviating Exposure Bias in Multi-Label
Classification", AAAI 2020; after Sara Sabour, William Chan, Mohammad Norouzi: "Optimal Completion
Distillation for Sequence Learning", ICLR 2019.

Faithful: loss, sampling and decoding, in both of which no label can be repeated (`OCDLoss`). Left
out: the second decoder (binary relevance) of Tsai & Lee's paper, which has weight 0 in the configs
that they released. Not faithful: their code divides the loss by the number of tokens as well; the
model is PLA's, for images, where theirs were for text and sound; greedy decoding, where they also
search with a beam (model.head.decoding.beam_width).
"""

_base_ = ["pla.py"]
model = dict(
    head=dict(
        loss=dict(type="OCDLoss"),
        decoding=dict(_delete_=True, no_repeat=True),
    )
)
