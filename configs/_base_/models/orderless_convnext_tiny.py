"""ConvNeXt-T (768 channels at stride 32) and the paper's decoder."""

_base_ = ["orderless_resnet101.py"]
model = dict(
    backbone=dict(
        _delete_=True,
        type="ConvNeXt",
        arch="tiny",
        drop_path_rate=0.1,
        gap_before_final_norm=False,  # keeps the map
        init_cfg=dict(
            type="Pretrained",
            checkpoint="mmpretrain://convnext-tiny_32xb128_in1k",
            prefix="backbone",
        ),
    ),
    head=dict(in_channels=768),
)
