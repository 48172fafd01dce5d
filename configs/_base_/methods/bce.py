"""BCE: every label by itself, with binary cross-entropy on the pooled map; a row of Table 2.

mmpretrain's `MultiLabelLinearClsHead`; the baseline of Vacit Oguz Yazici, Abel Gonzalez-Garcia,
Arnau Ramisa, Bartlomiej Twardowski, Joost van de Weijer: "Orderless Recurrent Models for
Multi-label Classification", CVPR 2020.

Faithful: labels of a probability of at least 0.5 are predicted. Not faithful: a config's own
schedule stays, where the paper trains this one with SGD (`bce_*` configs). A neck that the config
has stays, too.
"""

model = dict(
    neck=dict(type="GlobalAveragePooling"),
    head=dict(_delete_=True, type="MultiLabelLinearClsHead", loss=dict(type="MeanBCELoss")),
)
keep = ["neck", "head.num_classes", "head.in_channels"]
