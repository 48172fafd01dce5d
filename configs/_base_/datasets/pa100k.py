"""PA-100K: pedestrians, 80,000 to train, 10,000 to validate, 10,000 to test, 224×224.

The owners' files lie below data/pa100k: annotation.mat and data/. Most later work trains on
train_dataloader.dataset.split=trainval.
"""

data_preprocessor = dict(
    num_classes=26,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

train_pipeline = [
    dict(type="LoadImage"),
    # The paper: random affine and contrast. Not stated there (†): how far, and the flip.
    dict(type="NumpyToPIL", to_rgb=True),
    dict(type="torchvision/RandomAffine", degrees=0, translate=(0.03, 0.03)),
    dict(type="torchvision/ColorJitter", contrast=0.25),
    dict(type="PILToNumpy", to_bgr=True),
    dict(type="Resize", scale=(224, 224)),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),  # the same picture, cheaper here
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="Resize", scale=(224, 224)),
    dict(type="PackInputs"),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="PA100K",
        data_root="data/pa100k",
        split="train",
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PA100K",
        data_root="data/pa100k",
        split="val",
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="PA100K",
        data_root="data/pa100k",
        split="test",
        pipeline=test_pipeline,
        test_mode=True,
    ),
)

val_evaluator = dict(type="LabelSetMetric")
test_evaluator = val_evaluator
