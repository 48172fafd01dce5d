"""BCE: every label by itself, with binary cross-entropy on the pooled map; a row of Table 2.

mmpretrain's `MultiLabelLinearClsHead`; the baseline of Vacit Oguz Yazici, Abel Gonzalez-Garcia,
Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer: "Orderless Recurrent Models for
Multi-label Classification", CVPR 2020.

Labels with a probability of at least 0.5 are predicted: the threshold is that of the released code,
the paper names none. Not faithful: the config's own schedule, where the paper uses SGD (as the
`bce_*` configs do).
"""

model = dict(
    neck=dict(_delete_=True, type="GlobalAveragePooling"),
    head=dict(_delete_=True, type="MultiLabelLinearClsHead", loss=dict(type="MeanBCELoss")),
)
keep = ["head.num_classes", "head.in_channels"]
