"""Soft IoU: every class by itself, trained on the overlap of the whole set.

Luis Pineda, Amaia Salvador, Michal Drozdzal, Adriana Romero: "Elucidating image-to-set prediction:
An analysis of models, losses and datasets", arXiv 2019. No published number was at hand; their
C-F1 is the mean of the classes' F1.

Faithful: the loss, a mean over images, and a threshold of 0.5, as in the authors' code. Not
faithful: a linear head on the pooled map, where theirs has a 1×1 convolution before the pooling and
hidden layers after it, with dropout and batch norm; no upper limit on the number of labels; the
config's own schedule and image size.
"""

_base_ = ["bce.py"]
model = dict(head=dict(loss=dict(_delete_=True, type="SoftIoULoss")))
