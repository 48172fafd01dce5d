"""LSEP: labels ranked before all other classes by a smooth pairwise loss, then thresholds learned.

Yuncheng Li, Yale Song, Jiebo Luo: "Improving Pairwise Ranking for Multi-label Image
Classification", CVPR 2017; a row of Tables 4 and 5. Published with VGG16 (C-P, C-R, C-F1, O-P, O-R,
O-F1; C-F1 is the harmonic mean of C-P and C-R): COCO 73.50, 56.40, 63.82, 76.30, 61.80, 68.29;
NUS-WIDE 66.70, 45.90, 54.38, 76.80, 65.70, 70.82. Not reproduced here.

Faithful: a smooth pairwise ranking loss, and a module of its own that decides which labels (the
abstract; the rest of the paper was not at hand). The formula is that of the public
reimplementations, which agree. Not verified: that the paper samples pairs, while here all count;
what the module sees (here the pooled features) and its hidden layers of 100 and 10; whether the
published rows are decided by thresholds. Not faithful: ranker and module are trained together, the
module without an effect on the ranker, instead of one after the other; the config's own schedule.
The ranking loss is a mean over images, that of the thresholds a mean over images and classes.
"""

_base_ = ["bce.py"]
model = dict(
    head=dict(
        type="DecidedHead",
        decision=dict(type="ThresholdDecision", widths=(100, 10)),
        loss=dict(_delete_=True, type="LSEPLoss"),
    )
)
