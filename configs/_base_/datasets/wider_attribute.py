"""WIDER Attribute: persons cut out of photos, about 28,345 to train and 29,179 to test, 224×224.

The published files go into data/wider_attribute: Anno/wider_attribute_{trainval,test}.json and
Image/. Unspecified attributes are negatives in training and left out of mAP (`gt_ignore`).
"""

_base_ = ["images_224.py"]

data_preprocessor = dict(num_classes=14)

train_pipeline = [
    dict(type="LoadImage"),
    dict(type="CropBox"),
    dict(type="Resize", scale=(224, 224)),
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
    dict(type="CropBox"),
    dict(type="Resize", scale=(224, 224)),
    dict(type="PackInputs", algorithm_keys=("gt_ignore",)),
]

train_dataloader = dict(
    dataset=dict(
        type="WiderAttribute",
        data_root="data/wider_attribute",
        ann_file="Anno/wider_attribute_trainval.json",
        pipeline=train_pipeline,
    )
)
val_dataloader = dict(
    dataset=dict(
        type="WiderAttribute",
        data_root="data/wider_attribute",
        ann_file="Anno/wider_attribute_test.json",
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
