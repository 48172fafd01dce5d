"""Scenes of real handwritten digits, 5,000 to train and 1,000 to test, 48×48.

They are drawn into data/digit_scenes on first use, in about 10 s; this needs scikit-learn.
"""

data_preprocessor = dict(
    num_classes=10,
    mean=[127.5, 127.5, 127.5],
    std=[64.0, 64.0, 64.0],
    to_rgb=True,
)

train_pipeline = [dict(type="LoadImage"), dict(type="PackInputs")]
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="Resize", scale=(48, 48)),  # for pictures of another size; the scenes have this one
    dict(type="PackInputs"),
]

train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="DigitScenes",
        data_root="data/digit_scenes",
        split="train",
        num_scenes=5000,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="DigitScenes",
        data_root="data/digit_scenes",
        split="test",
        num_scenes=1000,
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="LabelSetMetric")
test_evaluator = val_evaluator
