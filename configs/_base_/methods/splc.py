"""SPLC: every label by itself; a negative that the model finds probable counts as a label.

Youcai Zhang, Yuhao Cheng, Xinyu Huang, Fei Wen, Rui Feng, Yaqian Li, Yandong Guo: "Simple and
Robust Loss Design for Multi-Label Learning with Missing Labels", arXiv 2021.

`bce.py` with another loss. Faithful to the authors' code: the loss, with the margin 1, γ = 2 and
corrections from the second epoch on, above a probability of 0.6; their 0.65 for a quarter of
missing labels: --cfg-options method=splc model.head.loss.threshold=0.65. Not faithful: the mean
over all B·C entries, where their code sums; no average of the weights (EMA); the config's own
schedule and image size, where theirs are Adam, one-cycle and 448×448. No published number was at
hand.
"""

_base_ = ["bce.py"]
model = dict(head=dict(loss=dict(_delete_=True, type="SPLCLoss")))
