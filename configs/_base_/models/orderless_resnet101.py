"""ResNet-101 and the paper's decoder: H = 512, E = 256, A = 512."""

model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="ResNet",
        depth=101,
        init_cfg=dict(type="Pretrained", checkpoint="torchvision://resnet101"),
    ),
    head=dict(
        type="OrderlessRNNHead",
        num_classes=80,
        in_channels=2048,
        max_steps=20,
        decoder=dict(
            type="AttentionLSTM",
            hidden_size=512,
            embed_size=256,
            attention_size=512,
            dropout=0.5,
        ),
        loss=dict(type="PLALoss"),
    ),
)
