"""MIRFLICKR-25000: 24 concepts, images 1 to 15000 to train and 15001 to 25000 to test, 224×224.

Not in the paper. The published files go into data/mirflickr25k: annotations/
(mirflickr25k_annotations_v080) and mirflickr/. With concepts=38, num_classes is 38.
"""

_base_ = ["images_224.py"]

data_preprocessor = dict(num_classes=24)

train_dataloader = dict(
    dataset=dict(type="MIRFlickr25k", data_root="data/mirflickr25k", numbers=(1, 15000))
)
val_dataloader = dict(
    dataset=dict(type="MIRFlickr25k", data_root="data/mirflickr25k", numbers=(15001, 25000))
)
test_dataloader = val_dataloader
