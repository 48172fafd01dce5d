"""PA-100K: pedestrians, 80,000 to train, 10,000 to validate, 10,000 to test, 224×224.

The published files go into data/pa100k: annotation.mat and data/. Most later work trains with
split="trainval".
"""

_base_ = ["images_224.py"]

data_preprocessor = dict(num_classes=26)

train_dataloader = dict(dataset=dict(type="PA100K", data_root="data/pa100k", split="train"))
val_dataloader = dict(dataset=dict(type="PA100K", data_root="data/pa100k", split="val"))
test_dataloader = dict(dataset=dict(type="PA100K", data_root="data/pa100k", split="test"))
