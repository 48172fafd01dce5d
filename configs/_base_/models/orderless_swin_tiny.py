"""Swin-T (768 channels at stride 32) and the paper's decoder."""

_base_ = ["orderless_resnet101.py"]
model = dict(
    backbone=dict(
        _delete_=True,
        type="SwinTransformer",
        arch="tiny",
        img_size=288,
        drop_path_rate=0.2,
        init_cfg=dict(type="Pretrained", checkpoint="mmcls://swin_tiny", prefix="backbone"),
    ),
    head=dict(in_channels=768),
)
