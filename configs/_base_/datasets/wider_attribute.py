"""WIDER Attribute: persons cut out of photos, about 28,345 to train and 29,179 to test, 224×224.

The published files go into data/wider_attribute: Anno/wider_attribute_{trainval,test}.json and
Image/. Unspecified attributes are negatives in training and left out of mAP (`gt_ignore`).
"""

_base_ = ["images_224.py"]

data_preprocessor = dict(num_classes=14)

train_pipeline = [_base_.train_pipeline[0], dict(type="CropBox"), *_base_.train_pipeline[1:]]
test_pipeline = [_base_.test_pipeline[0], dict(type="CropBox"), *_base_.test_pipeline[1:]]

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
