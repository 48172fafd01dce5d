"""Pascal VOC 2007: 5,011 images of trainval to train, 4,952 to test, 224×224.

Not in the paper. The published VOCdevkit/VOC2007 goes to data/VOC2007; mmpretrain's `VOC` reads it.
Objects marked `difficult` do not count as labels. VOC 2012 has the same layout, but only its train
and val sets are published with annotations: split="train" and split="val".
"""

_base_ = ["images_224.py"]

data_preprocessor = dict(num_classes=20)

train_dataloader = dict(dataset=dict(type="VOC", data_root="data/VOC2007", split="trainval"))
val_dataloader = dict(dataset=dict(type="VOC", data_root="data/VOC2007", split="test"))
test_dataloader = val_dataloader
