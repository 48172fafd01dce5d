"""VGG16 without batch norm and mmpretrain's linear multi-label head.

Like every backbone here it is pooled after its last feature map; its own dense layers are not used.
"""

_base_ = ["bce_resnet101.py"]
model = dict(
    backbone=dict(
        _delete_=True,
        type="VGG",
        depth=16,
        num_classes=-1,
        init_cfg=dict(type="Pretrained", checkpoint="mmcls://vgg16", prefix="backbone"),
    ),
    head=dict(in_channels=512),
)
