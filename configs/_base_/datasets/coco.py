"""COCO 2014: 82,081 images of train2014 to train, 40,137 of val2014 to test, 288×288.

Images without labels are dropped. The size is the paper's for ResNet-101, reached by a plain
resize: the aspect ratio is not kept and nothing is cropped. The published files go into data/coco:
train2014/, val2014/ and annotations/instances_{train,val}2014.json.
"""

data_preprocessor = dict(
    num_classes=80,
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)

train_pipeline = [
    dict(type="LoadImage"),
    dict(type="Resize", scale=(288, 288)),
    # Random affine and contrast are the paper's; their ranges and the flip are chosen here (†).
    # They come after the resize, where they are cheaper.
    dict(type="NumpyToPIL", to_rgb=True),
    dict(type="torchvision/RandomAffine", degrees=0, translate=(0.03, 0.03)),
    dict(type="torchvision/ColorJitter", contrast=0.25),
    dict(type="PILToNumpy", to_bgr=True),
    dict(type="RandomFlip", prob=0.5, direction="horizontal"),
    dict(type="PackInputs", algorithm_keys=("gt_ignore",)),
]
test_pipeline = [
    dict(type="LoadImage"),
    dict(type="Resize", scale=(288, 288)),
    dict(type="PackInputs", algorithm_keys=("gt_ignore",)),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,  # a last batch of a few images would be a noisy update
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
    num_workers=8,
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
