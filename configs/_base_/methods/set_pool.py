"""Set pooling: the decoder's steps are pooled over time, so that no order is imposed.

Luis Pineda, Amaia Salvador, Michal Drozdzal, Adriana Romero: "Elucidating image-to-set prediction:
An analysis of models, losses and datasets", arXiv 2019 (`lstmset` of the authors' code). No
published number was at hand; their C-F1 is the mean of the classes' F1.

Faithful: the decoder is fed its own prediction and repeats no label; binary cross-entropy of the
largest probability of each class over the first n steps; END has a loss of its own, weighted by 0.1
as on COCO. Not faithful: half of END's loss at its step and half before, as the authors intend,
where their code averages over all steps; only the n + 1 steps that count are decoded; the decoder
is PLA's, and sizes and schedule are the config's. Not verified: decoding stops when END is the most
probable token.
"""

_base_ = ["pla.py"]
model = dict(head=dict(loss=dict(type="SetPoolLoss"), decoding=dict(_delete_=True, no_repeat=True)))
