"""Query2Label: a learned query for each class attends to the map through a Transformer.

Shilong Liu, Lei Zhang, Xiao Yang, Hang Su, Jun Zhu: "Query2Label: A Simple Transformer Way to
Multi-Label Classification", arXiv 2021.

Faithful: one encoder layer and two decoder layers without self-attention, as in the released
models; the asymmetric loss with γ+ = 0, γ− = 2 and no margin, without a gradient through the
focusing weight. Not faithful: the config's hidden size, where the authors have the map's channels
and no projection (--cfg-options method=query2label model.head.decoder.hidden_size=2048 on a ResNet:
151 million weights for 80 classes); the mean over the B·C entries, which their code multiplies by
1,000; the config's own image size and schedule (theirs: AdamW at 1e-4, one cycle, weight decay,
cutout and RandAugment, averaged weights).

Published, ResNet-101 at 448×448: COCO mAP 84.9, C-P 84.8, C-R 74.5, C-F1 79.3, O-P 86.6, O-R 76.9,
O-F1 81.5; at 576×576 mAP 86.5.
"""

model = dict(
    neck=None,
    head=dict(
        _delete_=True,
        type="Query2LabelHead",
        decoder=dict(),
        loss=dict(type="DetachedAsymmetricLoss", gamma_pos=0.0, gamma_neg=2.0, clip=0.0),
    ),
)
keep = [
    *("head.num_classes", "head.in_channels", "head.drop_class_token"),
    "head.decoder.hidden_size",
]
