"""COCO 2014: trained on train2014, tested on val2014, unlabelled images dropped (82,081 / 40,137).

The paper's size for ResNet-101, 288×288, reached by a plain resize: the aspect ratio is not kept
and nothing is cropped. Files as published, below data/coco: train2014/, val2014/ and
annotations/instances_{train,val}2014.json.
"""

data_preprocessor = dict(
    num_classes=80,
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
    dict(type="Resize", scale=(288, 288)),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),  # the same picture, cheaper here
    dict(type="PackInputs"),
]
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="Resize", scale=(288, 288)),
    dict(type="PackInputs"),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="CocoMultiLabel",
        data_root="data/coco",
        ann_file="annotations/instances_train2014.json",
        data_prefix=dict(img_path="train2014/"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="CocoMultiLabel",
        data_root="data/coco",
        ann_file="annotations/instances_val2014.json",
        data_prefix=dict(img_path="val2014/"),
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="LabelSetMetric")
test_evaluator = val_evaluator
