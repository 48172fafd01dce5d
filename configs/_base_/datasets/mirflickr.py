"""MIRFLICKR-25000: 24 concepts, images 1 … 15000 to train and 15001 … 25000 to test, 224×224.

Not in the paper. The owners' files lie below data/mirflickr25k: annotations/ (their
mirflickr25k_annotations_v080) and mirflickr/. With concepts=38, num_classes is 38.
"""

data_preprocessor = dict(
    num_classes=24,
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
        type="MIRFlickr25k",
        data_root="data/mirflickr25k",
        numbers=(1, 15000),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="MIRFlickr25k",
        data_root="data/mirflickr25k",
        numbers=(15001, 25000),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="LabelSetMetric")
test_evaluator = val_evaluator
