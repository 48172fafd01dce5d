"""ResNet-152 and the paper's decoder."""

_base_ = ["orderless_resnet101.py"]
model = dict(backbone=dict(depth=152, init_cfg=dict(checkpoint="torchvision://resnet152")))
