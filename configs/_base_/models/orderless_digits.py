"""A small CNN (48×48 to 6×6 cells of 64 channels) and a decoder of H = 128, E = 32, A = 64."""

model = dict(
    type="ImageClassifier",
    backbone=dict(type="StridedCNN", channels=(16, 32, 64)),
    head=dict(
        type="OrderlessRNNHead",
        num_classes=10,
        in_channels=64,
        max_steps=11,
        decoder=dict(
            type="AttentionLSTM",
            hidden_size=128,
            embed_size=32,
            attention_size=64,
            dropout=0.1,
        ),
        loss=dict(type="PLALoss"),
    ),
)
