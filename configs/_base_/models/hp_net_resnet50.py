"""ResNet-50 and the HydraPlus-style head on the maps of its last three stages."""

_base_ = ["bce_resnet50.py"]
model = dict(
    backbone=dict(out_indices=(1, 2, 3)),
    neck=None,
    head=dict(
        type="HydraHead",
        side_channels=(512, 1024),
        stream_channels=512,
        loss=dict(_delete_=True, type="PriorWeightedBCELoss"),
    ),
)
