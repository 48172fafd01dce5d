"""Pascal VOC 2007: trained on trainval (5,011 images), tested on test (4,952), 224×224.

Not in the paper. data/VOC2007 is the owners' VOCdevkit/VOC2007; mmpretrain's `VOC` reads it.
Objects marked `difficult` do not count as labels. VOC 2012 has the same form, but only its train
and val are published with annotations: split="train" and split="val".
"""

_base_ = ["images_224.py"]

data_preprocessor = dict(num_classes=20)

train_dataloader = dict(dataset=dict(type="VOC", data_root="data/VOC2007", split="trainval"))
val_dataloader = dict(dataset=dict(type="VOC", data_root="data/VOC2007", split="test"))
test_dataloader = val_dataloader
