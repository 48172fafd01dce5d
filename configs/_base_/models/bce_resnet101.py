"""ResNet-101 and mmpretrain's own linear multi-label head.

The loss is meant to be the mean over all B·C entries. mmpretrain divides the sum by B alone, so
the weight is 1/C; without it the loss, and with it the step, would be 80 times as large.
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
        loss=dict(type="CrossEntropyLoss", use_sigmoid=True, loss_weight=1 / 80),
    ),
)
