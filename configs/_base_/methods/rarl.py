"""RARL: an LSTM looks at windows around a few places of the map, which it learns by reinforcement.

Tianshui Chen, Zhouxia Wang, Guanbin Li, Liang Lin: "Recurrent Attentional Reinforcement Learning
for Multi-Label Image Recognition", AAAI 2018.

Faithful to the abstract: a recurrent policy, learned by reinforcement, chooses places to look at.
From others' notes: a maximum over all windows, reward and classification loss together. Not
verified: nearly everything else, which `GlimpseHead` lists; neither the paper's text nor code was
at hand. Not faithful: hidden layers of 128 on windows of 2×2 cells, where VGG's have 4096 on 7×7;
one view of a test image instead of ten; the config's own schedule. Chosen here: labels have at
least a tenth of the softmax.

Published (percent): COCO, VGG16: C-P 78.80, C-R 57.20, C-F1 66.20, O-P 84.00, O-R 61.60, O-F1
71.10.
"""

model = dict(
    neck=None,
    head=dict(_delete_=True, type="GlimpseHead", thr=0.1, loss=dict(type="SoftmaxSquaredLoss")),
)
keep = ["head.num_classes", "head.in_channels"]
