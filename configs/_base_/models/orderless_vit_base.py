"""ViT-B/16 (18×18 cells of 768 channels at 288×288) and the paper's decoder.

The weights were trained at 384×384, with inputs from −1 to 1; their position embeddings are
interpolated to `img_size` when they are loaded.
"""

_base_ = ["orderless_resnet101.py"]
model = dict(
    backbone=dict(
        _delete_=True,
        type="VisionTransformer",
        arch="base",
        img_size=288,
        patch_size=16,
        drop_rate=0.1,
        out_type="featmap",
        init_cfg=dict(type="Pretrained", checkpoint="mmcls://vit_base_p16", prefix="backbone"),
    ),
    head=dict(in_channels=768),
)
