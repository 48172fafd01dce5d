"""ResNet-50 and the paper's decoder."""

_base_ = ["orderless_resnet101.py"]
model = dict(backbone=dict(depth=50, init_cfg=dict(checkpoint="torchvision://resnet50")))
