"""A small CNN (48×48 to 6×6 cells of 64 channels) and mmpretrain's linear multi-label head."""

model = dict(
    type="ImageClassifier",
    backbone=dict(type="StridedCNN", channels=(16, 32, 64)),
    neck=dict(type="GeneralizedMeanPooling"),  # small digits vanish in an average
    head=dict(
        type="MultiLabelLinearClsHead",
        num_classes=10,
        in_channels=64,
        loss=dict(type="MeanBCELoss"),
    ),
)
