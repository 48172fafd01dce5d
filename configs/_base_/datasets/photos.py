"""Your photos at 128×128, with their labels in data/photos/{train,val}.json.

The JSON is that of mmpretrain's MultiLabelDataset; the normalization is EfficientNet-Lite0's. For
another folder set `data_root` of the three datasets; `num_classes` is the number of class names.
"""

data_preprocessor = dict(
    num_classes=24,
    mean=[127.0, 127.0, 127.0],
    std=[128.0, 128.0, 128.0],
    to_rgb=True,
)

train_pipeline = [
    dict(type="LoadImage", min_side=128),  # a large JPEG is decoded at 1/2, 1/4 or 1/8
    dict(type="Resize", scale=(128, 128)),
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
    dict(type="LoadImage", min_side=128),  # a large JPEG is decoded at 1/2, 1/4 or 1/8
    dict(type="Resize", scale=(128, 128)),
    dict(type="PackInputs", algorithm_keys=("gt_ignore",)),
]

train_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="JsonMultiLabel",
        data_root="data/photos",
        ann_file="train.json",
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=32,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="JsonMultiLabel",
        data_root="data/photos",
        ann_file="val.json",
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = val_dataloader

val_evaluator = dict(type="LabelSetMetric")
test_evaluator = val_evaluator
