"""ResNet-50 and mmpretrain's linear multi-label head."""

_base_ = ["bce_resnet101.py"]
model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint="torchvision://resnet50")))
