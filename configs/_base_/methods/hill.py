"""Hill: every label by itself; a negative that the model is sure of may be a missing label.

Youcai Zhang, Yuhao Cheng, Xinyu Huang, Fei Wen, Rui Feng, Yaqian Li, Yandong Guo: "Simple and
Robust Loss Design for Multi-Label Learning with Missing Labels", arXiv 2021.

`bce.py` with another loss. Faithful to the authors' code: the loss, with the margin 1 and λ = 1.5.
Not faithful: the mean over all B·C entries, where their code sums; no average of the weights (EMA);
the config's own schedule and image size, where theirs are Adam, one-cycle and 448×448. The loss
shifts the probabilities: choose the threshold, 0.5 here, on held-out images. No published number
was at hand.
"""

_base_ = ["bce.py"]
model = dict(head=dict(loss=dict(_delete_=True, type="HillLoss")))
