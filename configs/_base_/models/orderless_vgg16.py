"""VGG16 without batch norm and the paper's decoder.

The feature map is taken after the last pooling: 9×9 cells of 512 channels at 288×288.
"""

_base_ = ["orderless_resnet101.py"]
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
