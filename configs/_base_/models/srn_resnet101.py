"""ResNet-101 and SRN's head: the side map is the third stage's (1,024 channels, 14×14 at 224)."""

_base_ = ["bce_resnet101.py"]
model = dict(
    backbone=dict(out_indices=(2, 3)),
    neck=None,
    head=dict(type="SRNHead", side_channels=1024, map_size=(14, 14)),
)
