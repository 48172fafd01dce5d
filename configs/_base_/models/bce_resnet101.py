"""ResNet-101 and mmpretrain's linear multi-label head.

`MeanBCELoss` averages over all B·C entries; mmpretrain's own loss is C times as large.
"""

model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="ResNet",
        depth=101,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101"),
    ),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(
        type="MultiLabelLinearClsHead",
        num_classes=80,
        in_channels=2048,
        loss=dict(type="MeanBCELoss"),
    ),
)
