"""WIDER Attribute: persons cut out of photos, about 28,345 to train and 29,179 to test, 224×224.

The owners' files lie below data/wider_attribute: Anno/wider_attribute_{trainval,test}.json, Image/.
Unspecified attributes are negative, and left out of mAP (`gt_ignore`).
"""

data_preprocessor = dict(
    num_classes=14,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

train_pipeline = [
    dict(type="LoadImage"),
    dict(type="CropBox"),
    # The paper: random affine and contrast. Not stated there (†): how far, and the flip.
    dict(type="NumpyToPIL", to_rgb=True),
    dict(type="torchvision/RandomAffine", degrees=0, translate=(0.03, 0.03)),
    dict(type="torchvision/ColorJitter", contrast=0.25),
    dict(type="PILToNumpy", to_bgr=True),
    dict(type="Resize", scale=(224, 224)),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),  # the same picture, cheaper here
    dict(type="PackInputs", algorithm_keys=("gt_ignore",)),
]
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="CropBox"),
    dict(type="Resize", scale=(224, 224)),
    dict(type="PackInputs", algorithm_keys=("gt_ignore",)),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="WiderAttribute",
        data_root="data/wider_attribute",
        ann_file="Anno/wider_attribute_trainval.json",
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="WiderAttribute",
        data_root="data/wider_attribute",
        ann_file="Anno/wider_attribute_test.json",
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="LabelSetMetric")
test_evaluator = val_evaluator
