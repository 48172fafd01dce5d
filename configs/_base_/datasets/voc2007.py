"""Pascal VOC 2007: 5,011 images of trainval to train, 4,952 to test, 224×224.

Not in the paper. The published VOCdevkit/VOC2007 goes to data/VOC2007. Objects marked `difficult`
are negatives in training and left out of mAP (`gt_ignore`). VOC 2012 has the same layout, but only
its train and val sets are published with annotations: split="train" and split="val".
"""

_base_ = ["images_224.py"]

data_preprocessor = dict(num_classes=20)

train_dataloader = dict(
    dataset=dict(type="VocMultiLabel", data_root="data/VOC2007", split="trainval")
)
val_dataloader = dict(dataset=dict(type="VocMultiLabel", data_root="data/VOC2007", split="test"))
test_dataloader = val_dataloader
